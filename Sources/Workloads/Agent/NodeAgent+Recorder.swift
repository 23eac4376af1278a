internal import HTTP
internal import IO
internal import Telemetry

// What the node's proxies have recorded is collected, so that it outlives them.
extension NodeAgent {
    /// How often.
    private static let collectInterval = Duration.seconds(30)
    /// How long one proxy is waited for.
    private static let patience = Duration.seconds(5)

    /// Collects until the agent stops.
    func collectRecordings() async {
        while !isStopping {
            await loop.sleep(for: Self.collectInterval)
            for record in records.values where record.role != .none { await collectRecording(record) }
        }
    }

    /// Takes what a proxy has recorded since it was last asked.
    func collectRecording(_ record: PodRecord) async {
        guard !record.isRemoved, let path = record.place?.namespacePath,
            record.instances[SidecarPlan.containerName] != nil
        else { return }
        let http = proxyAdmin(at: path, patience: Self.patience)
        let name = "\(record.pod.namespace)/\(record.pod.name)"
        let kept = RecordedRequests(configuration.layout)
        let page: [UInt8]
        do throws(HTTPError) {
            let response = try await http.send(HTTPClientRequest(.get, "/recorder?since=\(record.recordedUntil)"))
            page = try await response.collect(limit: RecordedRequests.pageBytesMax)
            guard response.status == 200, !page.isEmpty else { return }
        } catch {
            // It is asked again: nothing is lost unless the proxy goes first.
            return log.debug("recorded requests not collected", ["pod": name, "error": "\(error)"])
        }
        do throws(SystemError) {
            let latest = try await pool.run { () throws(SystemError) in try kept.add(page, pod: name) }
            if let latest { record.recordedUntil = max(record.recordedUntil, latest) }
        } catch {
            log.warning("recorded requests not kept", ["pod": name, "error": "\(error)"])
        }
    }

    /// The admin pages of the proxy in a network namespace; a connection is closed after `patience`.
    func proxyAdmin(at path: String, patience: Duration) -> HTTPClient {
        let loop = loop
        return HTTPClient(authority: "127.0.0.1:15000", on: loop) { () throws(HTTPError) in
            do throws(SystemError) {
                let descriptor = try NetworkNamespace.open(path: path).run { () throws(SystemError) in
                    try Socket.connect(to: .ip(.v4(0x7F00_0001), port: 15_000)).release()
                }
                let stream = try SocketStream(Socket(adopting: descriptor), on: loop)
                loop.schedule(after: patience) { stream.close() }
                return stream
            } catch {
                throw HTTPError.connection(error)
            }
        }
    }
}

internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization
internal import Workloads

extension Command {
    private static let against = Flag(
        "against", value: "recorded|FILE", "the proxies' recorders (default), or recorded requests in a file")
    private static let since = Flag("since", value: "TIME", "only requests of the last so long: 30s, 10m, 2h")
    private static let save = Flag("save", value: "FILE", "keep the recorded requests, for --against FILE")
    private static let format = Flag("output", short: "o", value: "text|json", "how to print (default text)")

    static let diff = Command(
        "diff", "", "Say which recorded requests a configuration would answer differently",
        details: """
            The objects of the files are put over the live ones. Every proxy's recorder holds one request in a hundred (skein-proxy
            --recorder-sample); each of them is asked of the configuration that the proxy has and of the one that it would get, by the
            code that serves. What differs is grouped: answer, policy, redirect, destination, weights, timeouts, retries, mirrors, filters,
            endpoints, cluster settings; with a count, an example and both explanations. Nothing is applied.

            Exit status: 0 nothing differs; 1 something does; 2 it could not be told.
            """,
        flags: [.files, against, since, save, .namespace, format, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.has(.files), invocation.operands.isEmpty else {
            throw CommandError.usage("diff", "needs -f FILE")
        }
        let output = invocation.value(format) ?? "text"
        guard output == "text" || output == "json" else {
            throw CommandError.usage("diff", "--output \(output): neither text nor json")
        }
        let age = try invocation.value(since).map { text throws(CommandError) in try seconds(text) }
        do throws(CommandError) {
            let manifests = try Manifest.load(invocation.all(.files), namespace: invocation.value(.namespace))
            return try onLoop { loop throws(CommandError) in
                let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
                let objects = try await KnownObjects.load(
                    client, dataDirectory: invocation.dataDirectory, withSecrets: true)
                if let problem = objects.problem { throw CommandError(problem) }
                let admin = ProxyAdmin(runDirectory: invocation.runDirectory, loop: loop)
                var recorded: [RecordedLine] = []
                let source = invocation.value(against) ?? "recorded"
                if source == "recorded" {
                    recorded = try await RecordedLine.ask(objects, admin, age: age)
                    recorded += RecordedLine.kept(invocation, objects, age: age)
                    recorded = RecordedLine.once(recorded)
                } else {
                    recorded = try RecordedLine.read(source, objects)
                }
                if let file = invocation.value(save) { try RecordedLine.write(recorded, file) }
                let differences = try compare(recorded, objects, manifests)
                let (old, new) = (ObjectFiles(objects), ObjectFiles(manifests, over: objects))
                Console.out(
                    output == "json"
                        ? differences.json(old: { old.place($0) }, new: { new.place($0) }).pretty + "\n"
                        : differences.text(old: { old.place($0) }, new: { new.place($0) }))
                return differences.differing == 0 ? 0 : 1
            }
        } catch {
            throw CommandError(error.message, status: 2)
        }
    }

    private static func seconds(_ text: String) throws(CommandError) -> Int64 {
        for (unit, seconds) in [("s", 1), ("m", 60), ("h", 3600)] where text.hasSuffix(unit) {
            if let number = Int64(text.dropLast()), (0...1_000_000).contains(number) { return number * Int64(seconds) }
        }
        throw CommandError.usage("diff", "--since \(text): not a time like 10m")
    }

    private static func compare(
        _ recorded: [RecordedLine], _ objects: KnownObjects, _ manifests: [Manifest]
    ) throws(CommandError) -> RequestDifferences {
        var pair = ConfigurationPair(
            objects.everything,
            changed: manifests.map { manifest in
                KubernetesObject(
                    json: SchemaTable.standard.applyDefaults(to: manifest.object.json, of: manifest.kind))
            })
        var differences = RequestDifferences()
        let comparison = try RequestComparison()
        defer { comparison.close() }
        let byPod = Dictionary(grouping: recorded) { $0.proxy }
        for (proxy, lines) in byPod.sorted(by: { $0.key.pod < $1.key.pod }) {
            guard let (old, new) = pair.resources(of: proxy) else {
                differences.addSame(lines.count)
                continue
            }
            let answers = try comparison.run(
                lines.map(\.request), old: old, new: new)
            for (line, answer) in zip(lines, answers) {
                differences.add(answer, request: line.request, pod: "\(proxy.pod)")
            }
        }
        return differences
    }
}

/// One recorded request, and the proxy that recorded it.
struct RecordedLine: Sendable {
    var proxy: ProxyIdentity
    var request: JSON

    private static func identity(_ pod: KubernetesObject, _ objects: KnownObjects) -> ProxyIdentity {
        ProxyIdentity(
            pod: NamespacedName(namespace: pod.namespace, name: pod.name),
            role: objects.isGateway(pod) ? .gateway : .sidecar)
    }

    /// Questions about the proxy itself: its health and its metrics, which no control plane configures.
    private static func isOwn(_ json: JSON) -> Bool {
        let listener = json["listener"]?.string ?? ""
        return listener.hasSuffix("_15020") || listener.hasSuffix("_15021")
    }

    /// What all proxies of the node have recorded.
    static func ask(
        _ objects: KnownObjects, _ admin: ProxyAdmin, age: Int64?
    ) async throws(CommandError) -> [RecordedLine] {
        var lines: [RecordedLine] = []
        var query: [(String, String)] = []
        if let age { query.append(("since", "\((WallClock.now.seconds - age) * 1000)")) }
        for pod in objects.all("Pod") where objects.workload(pod, runDirectory: admin.runDirectory).hasProxy {
            let page: ProxyAdmin.Page
            do throws(CommandError) {
                page = try await admin.ask(pod.metadata.uid, .get, "/recorder", query: query)
            } catch {
                Console.error("Warning: pod \(pod.namespace)/\(pod.name): \(error.message)\n")
                continue
            }
            guard page.status == 200 else {
                Console.error("Warning: pod \(pod.namespace)/\(pod.name): \(page.text)\n")
                continue
            }
            for line in page.body.split(separator: 0x0A) {
                guard let json = try? JSON.parse(Array(line)), !isOwn(json) else { continue }
                lines.append(RecordedLine(proxy: identity(pod, objects), request: json))
            }
        }
        return lines
    }

    /// What the node agent has collected, also of pods that are gone: another pod of their deployment stands for these.
    static func kept(_ invocation: Invocation, _ objects: KnownObjects, age: Int64?) -> [RecordedLine] {
        let layout = NodeLayout(dataDirectory: invocation.dataDirectory, runDirectory: invocation.runDirectory)
        let earliest = age.map { (WallClock.now.seconds - $0) * 1000 } ?? .min
        var pods: [String: KubernetesObject?] = [:]
        return RecordedRequests(layout).lines.compactMap { line in
            guard !isOwn(line), Int64(line["time_ms"]?.int ?? 0) > earliest, let name = line["pod"]?.string else {
                return nil
            }
            let found = pods[name] ?? (try? objects.pod(name, namespace: nil)) ?? Self.successor(of: name, objects)
            pods[name] = .some(found)
            guard let found else { return nil }
            var request = line
            request["pod"] = nil
            return RecordedLine(proxy: identity(found, objects), request: request)
        }
    }

    /// A pod of the deployment that made a pod which is gone: `web-6ffbc77675-64c9c` was `web`'s.
    private static func successor(of name: String, _ objects: KnownObjects) -> KubernetesObject? {
        let parts = name.split(separator: "/").map(String.init)
        guard parts.count == 2 else { return nil }
        let words = parts[1].split(separator: "-")
        guard words.count > 2 else { return nil }
        return try? objects.pod("deployment/" + words.dropLast(2).joined(separator: "-"), namespace: parts[0])
    }

    /// Each request once: those of a living proxy are collected, too.
    static func once(_ lines: [RecordedLine]) -> [RecordedLine] {
        var seen: Set<JSON> = []
        return lines.filter { seen.insert($0.request).inserted }
    }

    /// Lines of `--save`: what `/recorder` writes, and `pod` as `NAMESPACE/NAME`; the pod may be any of its deployment's.
    static func read(_ file: String, _ objects: KnownObjects) throws(CommandError) -> [RecordedLine] {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try File.read(file)
        } catch {
            throw CommandError(error)
        }
        var lines: [RecordedLine] = []
        for (index, line) in bytes.split(separator: 0x0A).enumerated() {
            guard let json = try? JSON.parse(Array(line)), let name = json["pod"]?.string else {
                throw CommandError("\(file):\(index + 1): not a recorded request with its pod")
            }
            let pod: KubernetesObject
            do throws(CommandError) {
                pod = try objects.pod(name, namespace: nil)
            } catch {
                throw CommandError("\(file):\(index + 1): \(error.message)")
            }
            lines.append(RecordedLine(proxy: identity(pod, objects), request: json))
        }
        return lines
    }

    static func write(_ lines: [RecordedLine], _ file: String) throws(CommandError) {
        let text = lines.map { line in
            var json = line.request
            json["pod"] = .string("\(line.proxy.pod)")
            return json.text + "\n"
        }
        do throws(SystemError) {
            try File.write(file, Array(text.joined().utf8))
        } catch {
            throw CommandError(error)
        }
    }
}

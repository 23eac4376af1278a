internal import Glibc
internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

// A balancer outside asks each node on a Service's `healthCheckNodePort` whether it has an endpoint of that Service.
extension NodeAgent {
    /// Who asks is a handful of balancers: more connections than that at once are refused.
    private static let healthClientsMax = 100

    /// Takes note of what services say now about their health-check ports.
    func takeHealthPorts(_ changes: ServiceChanges) {
        if changes.isWhole { healthServices = [:] }
        var isOther = changes.isWhole
        for parts in changes.parts {
            let now = HealthCheckPorts.answer(parts, node: configuration.nodeName)
            guard now != nil || healthServices[parts.key] != nil else { continue }
            healthServices[parts.key] = now
            isOther = true
        }
        guard isOther else { return }
        healthAnswers = [:]
        for (_, entry) in healthServices.sorted(by: { $0.key < $1.key }) { healthAnswers[entry.port] = entry.answer }
        updateHealthPorts()
    }

    /// Listens on the ports that Services have now, and on no others.
    func updateHealthPorts() {
        guard !isStopping else { return }
        for (port, listener) in healthListeners where healthAnswers[port] == nil {
            listener.close()
            healthListeners[port] = nil
        }
        for (port, answer) in healthAnswers where healthListeners[port] == nil {
            do throws(SystemError) {
                try serveHealth(port)
                healthProblems.remove(port)
            } catch {
                // Somebody else has the port; it is tried again with the next change, and every ten seconds.
                if healthProblems.insert(port).inserted {
                    log.warning(
                        "a health-check port cannot be served",
                        ["service": "\(answer.namespace)/\(answer.name)", "port": "\(port)", "error": "\(error)"])
                }
            }
        }
    }

    /// How often a connection to a health-check port was turned away, or gave up its place, because there were too many.
    var healthChecksTurnedAway: UInt64 {
        healthPlaces.values.reduce(0) { $0 &+ $1.closed.value &+ $1.toldToComeAgain.value &+ $1.givenUp.value }
    }

    private func serveHealth(_ port: UInt16) throws(SystemError) {
        let socket: Socket
        do throws(SystemError) {
            socket = try Socket.listen(on: .ip(.v6(high: 0, low: 0), port: port), acceptsIPv4: true)
        } catch {
            // A machine without IPv6.
            guard error.errno != EADDRINUSE else { throw error }
            socket = try Socket.listen(on: .ip(.v4(0), port: port))
        }
        let listener = try SocketListener(socket, on: loop)
        healthListeners[port] = listener
        var limits = HTTPServer.Limits()
        let places = healthPlaces[port] ?? ConnectionPlaces(max: Self.healthClientsMax)
        healthPlaces[port] = places
        limits.places = places
        let server = HTTPServer(on: loop, limits: limits) { [weak self] _ in
            await self?.health(port) ?? HTTPResponse(status: 503, text: "the node agent ends\n")
        }
        begin { _ in await server.run(listener) }
    }

    private func health(_ port: UInt16) -> HTTPResponse {
        guard let answer = healthAnswers[port] else { return HTTPResponse(status: 404, text: "no such service\n") }
        let (status, body) = answer.response(isHealthy: areServicesServed)
        var response = HTTPResponse(status: status, contentType: "application/json", body: body.bytes)
        // Two constants and a number are always fields.
        try? response.head.headers.append("x-content-type-options", "nosniff")
        try? response.head.headers.append("x-load-balancing-endpoint-weight", String(answer.localEndpoints))
        return response
    }
}

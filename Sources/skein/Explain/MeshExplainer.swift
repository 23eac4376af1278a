internal import DNS
internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// Asks everybody on the way of a request: the name server, the caller's proxy, the proxy of where it arrives, the control plane.
struct MeshExplainer: Sendable {
    let objects: KnownObjects
    let files: ObjectFiles
    let admin: ProxyAdmin
    let client: KubernetesClient
    let seed: String?
    /// How the tries are taken to end.
    let answer: String?

    /// Follows a request from a pod, or from outside through a gateway: at its own ports, or at a Gateway's own address.
    func explain(
        from pod: KubernetesObject, _ target: ExplainTarget, at entrance: GatewayEntrance? = nil
    ) async -> MeshExplanation {
        let source = objects.workload(pod, runDirectory: admin.runDirectory)
        let port = target.port(objects, namespace: pod.namespace)
        let scheme = target.isTLS ? "https" : "http"
        let objects = objects
        let files = files
        var explanation = MeshExplanation(
            source: source, request: "\(target.method) \(scheme)://\(target.authority(port: port))\(target.path)",
            host: target.host, object: { objects.object($0, $1) }, objects: { objects.all($0) },
            place: { files.place($0) })
        explanation.entrance = entrance?.words
        explanation.controlPlane = await controlPlane()
        var destination: IPAddress?
        if !source.isGateway { destination = await lookUp(target.host, from: pod, &explanation) }
        guard source.hasProxy else {
            explanation.outboundProblem = "no proxy: the connection goes straight to the service's address"
            let end = endpoint(of: target, port, namespace: pod.namespace) ?? destination.map { ("\($0)", port) }
            if let end { await arrive(&explanation, target, at: end.0, port: end.1) }
            return explanation
        }
        if !source.isGateway, destination == nil {
            destination = await fallback(target.host, pod, &explanation)
            guard destination != nil else { return explanation }
        }
        let question = self.question(target, port, at: entrance?.port ?? port, source, destination)
        explanation.outbound = await ask(pod, question, &explanation.outboundProblem)
        guard let outbound = explanation.outbound, outbound.outcome == .forwarded, let host = outbound.host else {
            return explanation
        }
        guard let (address, number) = Self.split(host) else { return explanation }
        await arrive(&explanation, target, at: address, port: number)
        await verifyHost(&explanation, pod, question)
        return explanation
    }

    // MARK: The caller's side

    private func question(
        _ target: ExplainTarget, _ port: Int, at listener: Int, _ source: MeshExplanation.Workload,
        _ destination: IPAddress?
    ) -> [(String, String)] {
        var query: [(String, String)] = [
            ("url", "\(target.isTLS ? "https" : "http")://\(target.authority(port: port))\(target.path)"),
            ("method", target.method), ("format", "json"), ("demand", "1"),
        ]
        for header in target.headers { query.append(("header", header)) }
        if let seed { query.append(("seed", seed)) }
        if let answer { query.append(("answer", answer)) }
        if source.isGateway {
            // As somebody outside asks.
            query.append(("listener", ":\(listener)"))
        } else {
            query.append(("listener", "virtualOutbound"))
            query.append(("source", Self.socket(source.address, 40000)))
            if let destination { query.append(("destination", Self.socket("\(destination)", port))) }
        }
        return query
    }

    private func ask(
        _ pod: KubernetesObject, _ query: [(String, String)], _ problem: inout String?
    ) async -> ProxyAnswer? {
        do throws(CommandError) {
            let page = try await admin.ask(pod.metadata.uid, .get, "/explain", query: query)
            guard page.status == 200, let json = try? JSON.parse(page.body), let answer = ProxyAnswer(json) else {
                problem = page.text.split(separator: "\n").first.map(String.init) ?? "status \(page.status)"
                return nil
            }
            return answer
        } catch {
            problem = error.message
            return nil
        }
    }

    // MARK: Names

    /// As the pod's resolver does.
    private func lookUp(
        _ host: String, from pod: KubernetesObject, _ explanation: inout MeshExplanation
    ) async -> IPAddress? {
        if let address = IPAddress(host) { return address }
        guard let server = nameserver(pod) else {
            explanation.names = .failed("the pod's name server is not known")
            return nil
        }
        var configuration = ResolverConfiguration(servers: [.ip(server, port: 53)])
        configuration.search = ["\(pod.namespace).svc.cluster.local", "svc.cluster.local", "cluster.local"]
        configuration.ndots = 5
        configuration.timeout = .seconds(1)
        let resolver = DNSResolver(on: admin.loop, configuration: configuration, hosts: HostsFile(text: ""))
        do throws(LookupFailure) {
            let found = try await resolver.resolve(host)
            let addresses = found.addresses.map { "\($0)" }
            explanation.names = .found(name: "\(host) by \(server)", addresses: addresses)
            return found.addresses.first
        } catch {
            explanation.names = .failed("\(server), asked for \(host): \(error)")
            return nil
        }
    }

    /// The first address of the node's pod network.
    private func nameserver(_ pod: KubernetesObject) -> IPAddress? {
        let node = objects.object("Node", NamespacedName(namespace: "", name: pod.spec["nodeName"]?.string ?? ""))
        let network = node?.spec["podCIDR"]?.string?.split(separator: "/").first.map(String.init)
        let text = network ?? pod.status["podIP"]?.string ?? ""
        guard let dot = text.lastIndex(of: ".") else { return nil }
        return IPAddress(text[..<dot] + ".1")
    }

    /// Nobody answers names: what the caller's proxy knows of the host.
    private func fallback(
        _ host: String, _ pod: KubernetesObject, _ explanation: inout MeshExplanation
    ) async -> IPAddress? {
        guard explanation.controlPlane.problem != nil,
            let page = try? await admin.ask(pod.metadata.uid, .get, "/config_dump"), page.status == 200,
            let json = try? JSON.parse(page.body)
        else { return nil }
        var found: IPAddress?
        func look(_ json: JSON) {
            guard found == nil else { return }
            if case .array(let items) = json { for item in items { look(item) } }
            guard case .object(let members) = json else { return }
            let domains = (members["domains"]?.array ?? []).compactMap(\.string)
            if domains.contains(host) { found = domains.lazy.compactMap { IPAddress($0) }.first }
            for value in members.values { look(value) }
        }
        look(json)
        return found
    }

    // MARK: Where it arrives

    /// An endpoint of a service, for callers that no proxy chooses one for.
    private func endpoint(of target: ExplainTarget, _ port: Int, namespace: String) -> (String, Int)? {
        let parts = target.host.split(separator: ".").map(String.init)
        guard let name = parts.first else { return nil }
        let key = NamespacedName(namespace: parts.count > 1 ? parts[1] : namespace, name: name)
        guard let service = objects.object("Service", key) else { return nil }
        let ports = service.spec["ports"]?.array ?? []
        guard let index = ports.firstIndex(where: { $0["port"]?.int == port }) else { return nil }
        for slice in objects.all("EndpointSlice")
        where slice.namespace == key.namespace && slice.metadata.labels["kubernetes.io/service-name"] == key.name {
            let wanted = ports[index]["name"]?.string ?? ""
            let number = (slice.json["ports"]?.array ?? []).first { ($0["name"]?.string ?? "") == wanted }?["port"]?.int
            for endpoint in slice.json["endpoints"]?.array ?? [] where endpoint["conditions"]?["ready"]?.bool != false {
                if let number, let address = endpoint["addresses"]?.array?.first?.string { return (address, number) }
            }
        }
        return nil
    }

    private func arrive(
        _ explanation: inout MeshExplanation, _ target: ExplainTarget, at address: String, port: Int
    ) async {
        guard let pod = objects.pod(at: address) else { return }
        let workload = objects.workload(pod, runDirectory: admin.runDirectory)
        if workload.isGateway, explanation.passage == nil {
            return await pass(&explanation, target, through: pod, workload, port: port)
        }
        explanation.destination = workload
        guard workload.hasProxy, !workload.isGateway else {
            explanation.inboundProblem =
                workload.isGateway
                ? "a second gateway: ask about it from there" : "no proxy: the program takes the connection itself"
            return
        }
        var query: [(String, String)] = [
            ("listener", "virtualInbound"), ("destination", Self.socket(address, port)), ("format", "json"),
            ("demand", "1"),
        ]
        query += self.request(explanation, target)
        explanation.inbound = await ask(pod, query, &explanation.inboundProblem)
    }

    /// The request is for a gateway: it goes on from there.
    private func pass(
        _ explanation: inout MeshExplanation, _ target: ExplainTarget, through pod: KubernetesObject,
        _ workload: MeshExplanation.Workload, port: Int
    ) async {
        var passage = MeshExplanation.Passage(workload)
        let query = [("listener", ":\(port)"), ("format", "json"), ("demand", "1")] + request(explanation, target)
        passage.answer = await ask(pod, query, &passage.problem)
        explanation.passage = passage
        guard let answer = passage.answer, answer.outcome == .forwarded, let host = answer.host,
            let (address, number) = Self.split(host)
        else { return }
        await arrive(&explanation, target, at: address, port: number)
    }

    /// The request as the last proxy on its way would send it on: who sends it, what it says, and how the connection is secured.
    private func request(_ explanation: MeshExplanation, _ target: ExplainTarget) -> [(String, String)] {
        let sender = explanation.passage?.workload ?? explanation.source
        let outbound = (explanation.passage.map(\.answer) ?? explanation.outbound)?.json
        var query = [("source", Self.socket(sender.address, 40000))]
        if let request = outbound?["request"] {
            for (name, member) in [("method", "method"), ("authority", "authority"), ("path", "path")] {
                if let value = request[member]?.string { query.append((name, value)) }
            }
            for header in request["headers"]?.array ?? [] { header.string.map { query.append(("header", $0)) } }
        } else {
            query.append(("method", target.method))
            query.append(("authority", target.authority(port: target.port ?? 80)))
            query.append(("path", target.path))
            for header in target.headers { query.append(("header", header)) }
        }
        if let tls = outbound?["state"]?["upstream_tls"], outbound?["decision"]?["upstream_tls"]?.bool == true {
            query.append(("tls", "1"))
            if let name = tls["sni"]?.string { query.append(("sni", name)) }
            let protocols = (tls["alpn"]?.array ?? []).compactMap(\.string)
            if !protocols.isEmpty { query.append(("alpn", protocols.joined(separator: ","))) }
            if let name = tls["presents"]?.array?.first?["names"]?.array?.first?.string {
                query.append(("principal", name))
            }
            let chain = (tls["chain"]?.array ?? []).compactMap(\.string)
            if !chain.isEmpty { query.append(("client_chain", chain.joined(separator: ","))) }
        }
        if outbound?["state"]?["upstream_protocol"]?.string == "HTTP/2" { query.append(("http2", "1")) }
        return query
    }

    /// The other half of the handshake: what the caller's proxy thinks of the certificate that the host shows.
    private func verifyHost(
        _ explanation: inout MeshExplanation, _ pod: KubernetesObject, _ question: [(String, String)]
    ) async {
        // Behind a gateway it is that which speaks to the host.
        guard explanation.passage == nil, explanation.outbound?.json["decision"]?["upstream_tls"]?.bool == true else {
            return
        }
        let chain = (explanation.inbound?.json["state"]?["downstream_tls"]?["chain"]?.array ?? []).compactMap(\.string)
        guard !chain.isEmpty else { return }
        var problem: String?
        let answer = await ask(pod, question + [("host_chain", chain.joined(separator: ","))], &problem)
        if let answer, answer.outcome != .forwarded { explanation.outbound = answer }
    }

    // MARK: The control plane

    private func controlPlane() async -> MeshExplanation.ControlPlane {
        var state = MeshExplanation.ControlPlane()
        if let problem = objects.problem {
            state.problem = "\(problem); the proxies and what the node agent wrote down were asked instead"
            return state
        }
        guard let answer = try? await client.call(.get, "/skein/v1/proxies"), answer.isSuccess else { return state }
        state.revision = answer.json["revision"]?.int.map { Int64($0) }
        for proxy in answer.json["proxies"]?.array ?? [] {
            let key = NamespacedName(
                namespace: proxy["namespace"]?.string ?? "", name: proxy["pod"]?.string ?? "")
            state.acknowledged[key] = Int64(proxy["acknowledged"]?.int ?? 0)
            state.refused[key] = (proxy["refused"]?.array ?? []).map {
                "\($0["type"]?.string ?? "") \($0["resource"]?.string ?? ""): \($0["message"]?.string ?? "")"
            }
        }
        return state
    }

    // MARK: Addresses

    private static func socket(_ address: String, _ port: Int) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }

    private static func split(_ text: String) -> (String, Int)? {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]) else { return nil }
        return (text[..<colon].filter { $0 != "[" && $0 != "]" }, port)
    }
}

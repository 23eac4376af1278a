internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization

extension Command {
    static let proxyStatus = Command(
        "proxy-status", "[POD[.NAMESPACE]]", "Show which proxies have which configuration",
        details: """
            For each type SYNCED (acknowledged), STALE (sent or about to be, not acknowledged) or REJECTED (some of it refused; the rest is in
            use). ACKNOWLEDGED is the newest revision of the store of which the proxy has everything it asked for. With a pod: what it
            refuses, why, and the objects that made it. Exit status 1 when something is refused.
            """,
        flags: [.namespace, .output, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let answer = try await client.call(.get, "/skein/v1/proxies")
            guard answer.isSuccess else { throw CommandError("Error from server: \(answer.message)") }
            var proxies = answer.json["proxies"]?.array ?? []
            if let operand = invocation.operands.first {
                let name = PodName(operand, namespace: invocation.value(.namespace))
                proxies = proxies.filter { name.fits($0) }
                guard !proxies.isEmpty else { throw CommandError("no proxy of pod \(name) is connected") }
            } else if let namespace = invocation.value(.namespace) {
                proxies = proxies.filter { $0["namespace"]?.string == namespace }
            }
            let refused = proxies.flatMap { $0["refused"]?.array ?? [] }
            if invocation.value(.output) == "json" {
                Console.out(JSON.array(proxies).pretty + "\n")
            } else {
                Console.out(ProxyTables.status(proxies, revision: answer.json["revision"]?.int ?? 0).text)
                let unnamed = answer.json["unnamed"]?.int ?? 0
                if unnamed > 0 { Console.out("\n\(unnamed) more proxies of other control planes\n") }
                for refusal in refused { Console.out("\n" + ProxyTables.text(refusal)) }
            }
            return refused.isEmpty ? 0 : 1
        }
    }

    private static let fqdn = Flag("fqdn", value: "HOST", "only what is for this host")
    private static let port = Flag("port", value: "PORT", "only what is for this port")

    static let proxyConfig = Command(
        "proxy-config", "clusters|listeners|routes|endpoints|secret|bootstrap|log POD[.NAMESPACE] [LEVEL]",
        "Show the configuration of a proxy",
        details: """
            clusters, listeners, routes and endpoints are what the control plane has for the proxy (skein proxy-status tells whether it has
            taken it); secret, bootstrap and log are asked of the proxy's own admin port, inside of its pod. Keys are never shown.
            """,
        flags: [.namespace, .output, fqdn, port, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.count >= 2 else {
            throw CommandError.usage("proxy-config", "needs a kind and a pod")
        }
        let kind = ProxyTables.kinds[invocation.operands[0]] ?? invocation.operands[0]
        let name = PodName(invocation.operands[1], namespace: invocation.value(.namespace))
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            switch kind {
            case "clusters", "listeners", "routes", "endpoints":
                let answer = try await client.call(
                    .get, "/skein/v1/config",
                    query: [("type", kind), ("pod", name.pod), ("namespace", name.namespace)])
                guard answer.isSuccess else { throw CommandError("Error from server: \(answer.message)") }
                var items = answer.json["items"]?.array ?? []
                if let host = invocation.value(fqdn) { items = items.filter { $0.text.contains(host) } }
                if invocation.value(.output) == "json" {
                    Console.out(JSON.array(items).pretty + "\n")
                    return 0
                }
                var table = ProxyTables.table(kind, items)
                if let port = invocation.value(port) { table = table.keeping("PORT", port) }
                Console.out(table.text)
                return 0
            case "secret": return try await admin(invocation, client, name, loop, .get, "/certs")
            case "bootstrap":
                return try await admin(invocation, client, name, loop, .get, "/config_dump?mask=bootstrap")
            case "log":
                let level = invocation.operands.count > 2 ? "?level=\(invocation.operands[2])" : ""
                return try await admin(invocation, client, name, loop, .post, "/logging\(level)")
            default:
                throw CommandError.usage(
                    "proxy-config", "\(kind): not clusters, listeners, routes, endpoints, secret, bootstrap or log")
            }
        }
    }

    /// Asks the admin port of a proxy, which only listens inside of its pod.
    private static func admin(
        _ invocation: Invocation, _ client: KubernetesClient, _ name: PodName, _ loop: EventLoop, _ method: HTTPMethod,
        _ path: String
    ) async throws(CommandError) -> Int32 {
        let pod = try await client.call(.get, ResourceKind.pod.path(namespace: name.namespace, name: name.pod))
        guard pod.isSuccess, let uid = pod.json["metadata"]?["uid"]?.string else {
            throw CommandError("Error from server: \(pod.message)")
        }
        do throws(CommandError) {
            let page = try await ProxyAdmin(runDirectory: invocation.runDirectory, loop: loop).ask(uid, method, path)
            Console.out(page.text)
            return page.status == 200 ? 0 : 1
        } catch {
            throw CommandError("the proxy of pod \(name): \(error.message)")
        }
    }
}

/// `POD.NAMESPACE`, `POD`, or `NAMESPACE/POD`.
struct PodName: Sendable, CustomStringConvertible {
    var pod: String
    var namespace: String

    init(_ text: String, namespace: String?) {
        let slash = text.split(separator: "/", maxSplits: 1).map(String.init)
        if slash.count == 2 {
            (self.namespace, pod) = (slash[0], slash[1])
        } else if let dot = text.lastIndex(of: "."), namespace == nil {
            (pod, self.namespace) = (String(text[..<dot]), String(text[text.index(after: dot)...]))
        } else {
            (pod, self.namespace) = (text, namespace ?? "default")
        }
    }

    func fits(_ proxy: JSON) -> Bool {
        proxy["pod"]?.string == pod && proxy["namespace"]?.string == namespace
    }

    var description: String { "\(namespace)/\(pod)" }
}

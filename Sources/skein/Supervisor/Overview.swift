internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization

/// How far the Deployments are.
struct Readiness: Sendable {
    private(set) var ready = 0
    private(set) var wanted = 0
    private(set) var problems: [String] = []

    init(_ client: KubernetesClient) async throws(CommandError) {
        let list = try await client.call(.get, "/apis/apps/v1/deployments")
        guard list.isSuccess else { throw CommandError("Error from server: \(list.message)") }
        var waiting: Set<String> = []
        for item in list.json["items"]?.array ?? [] {
            let object = KubernetesObject(json: item)
            let replicas = object.spec["replicas"]?.int ?? 1
            let isCurrent = (object.status["observedGeneration"]?.int ?? 0) >= object.metadata.generation
            let count =
                isCurrent
                ? min(object.status["readyReplicas"]?.int ?? 0, object.status["updatedReplicas"]?.int ?? 0) : 0
            wanted += replicas
            ready += min(count, replicas)
            if count < replicas { waiting.insert("\(object.namespace)/\(object.name)") }
        }
        guard !waiting.isEmpty else { return }
        problems = try await Self.reasons(client, waiting)
    }

    /// What keeps the pods from being ready, one line each.
    private static func reasons(_ client: KubernetesClient, _ waiting: Set<String>) async throws(CommandError)
        -> [String]
    {
        let list = try await client.call(.get, "/api/v1/pods")
        var reasons: [String] = []
        for item in list.json["items"]?.array ?? [] {
            let pod = KubernetesObject(json: item)
            let statuses =
                (pod.status["initContainerStatuses"]?.array ?? []) + (pod.status["containerStatuses"]?.array ?? [])
            for status in statuses where status["ready"]?.bool != true {
                guard let state = status["state"]?["waiting"], let reason = state["reason"]?.string,
                    !["PodInitializing", "ContainerCreating"].contains(reason)
                else { continue }
                let name = status["name"]?.string ?? ""
                reasons.append(
                    "pod \(pod.namespace)/\(pod.name), container \(name): \(reason): \(state["message"]?.string ?? "")")
            }
        }
        return reasons.isEmpty ? waiting.sorted().map { "deployment \($0) has not all its replicas" } : reasons
    }

    var isReady: Bool { ready >= wanted }

    var line: String { "\(ready) of \(wanted) replicas ready" }
}

/// Services and the addresses to try.
struct Overview: Sendable {
    let services: TextTable
    let addresses: [String]

    init(_ client: KubernetesClient, gateway: SocketAddress) async throws(CommandError) {
        let objects = try await client.call(.get, "/api/v1/services")
        let slices = try await client.call(.get, "/apis/discovery.k8s.io/v1/endpointslices")
        var ready: [String: (ready: Int, all: Int)] = [:]
        var counted: Set<String> = []
        for item in slices.json["items"]?.array ?? [] {
            let slice = KubernetesObject(json: item)
            let key = "\(slice.namespace)/\(slice.metadata.labels["kubernetes.io/service-name"] ?? "")"
            for endpoint in item["endpoints"]?.array ?? [] {
                // A pod with addresses of both families is in two slices, and one pod.
                let pod = endpoint["targetRef"]?["uid"]?.string
                guard pod.map({ counted.insert("\(key) \($0)").inserted }) ?? true else { continue }
                let isReady = endpoint["conditions"]?["ready"]?.bool ?? true
                ready[key, default: (0, 0)].all += 1
                if isReady { ready[key, default: (0, 0)].ready += 1 }
            }
        }
        let items = (objects.json["items"]?.array ?? []).map { KubernetesObject(json: $0) }
        let shown = items.filter {
            $0.namespace != "kube-system" && !($0.namespace == "default" && $0.name == "kubernetes")
        }
        let names = Set(shown.map(\.namespace))
        let rows = shown.sorted { ($0.namespace, $0.name) < ($1.namespace, $1.name) }.map { service in
            let count = ready["\(service.namespace)/\(service.name)"] ?? (0, 0)
            let address = service.spec["clusterIP"]?.string ?? ""
            let ports = (service.spec["ports"]?.array ?? []).compactMap { $0["port"]?.int }.map { ":\($0)" }
            let external = service.status["loadBalancer"]?["ingress"]?[0]?["ip"]?.string
            return [
                service.namespace == "default" || names.count == 1
                    ? service.name : "\(service.namespace)/\(service.name)",
                "\(count.ready)/\(count.all)", address + ports.joined(separator: ","), external ?? "",
            ]
        }
        services = TextTable(header: ["SERVICE", "READY", "ADDRESS", "EXTERNAL"], rows: rows)

        var hosts: [String] = []
        let routes = try await client.call(.get, "/apis/networking.istio.io/v1/virtualservices")
        for item in routes.json["items"]?.array ?? [] {
            let gateways = (item["spec"]?["gateways"]?.array ?? []).compactMap(\.string).filter { $0 != "mesh" }
            if !gateways.isEmpty { hosts += (item["spec"]?["hosts"]?.array ?? []).compactMap(\.string) }
        }
        let ingresses = try await client.call(.get, "/apis/networking.k8s.io/v1/ingresses")
        for item in ingresses.json["items"]?.array ?? [] {
            for rule in item["spec"]?["rules"]?.array ?? [] { hosts.append(rule["host"]?.string ?? "*") }
        }
        var lines: [String] = []
        for host in hosts where !lines.contains(where: { $0.contains("'Host: \(host)'") }) {
            let line = host == "*" ? "Open http://\(gateway)/" : "Try  curl -H 'Host: \(host)' http://\(gateway)/"
            if !lines.contains(line) { lines.append(line) }
        }
        addresses = lines.sorted { $0.hasPrefix("Open") && !$1.hasPrefix("Open") }
    }
}

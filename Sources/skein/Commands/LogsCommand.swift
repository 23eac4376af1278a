internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization

extension Command {
    private static let container = Flag(
        "container", short: "c", value: "NAME", "the container (default: the pod's first)")
    private static let follow = Flag("follow", "go on as the container writes")
    private static let tail = Flag("tail", value: "LINES", "only the last lines")
    private static let previous = Flag("previous", short: "p", "of the container before its last restart")
    private static let timestamps = Flag("timestamps", "each line with the time it was written")

    static let logs = Command(
        "logs", "POD | KIND/NAME", "Show what containers wrote",
        details:
            "KIND/NAME takes the first pod of a Deployment or Service. With -l the pods with these labels, one after the other.",
        flags: [.namespace, .selector, container, follow, tail, previous, timestamps, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let namespace = invocation.value(.namespace) ?? "default"
        if let lines = invocation.value(tail), Int(lines) == nil {
            throw CommandError.usage("logs", "--tail \(lines): not a number")
        }
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            for pod in try await pods(invocation, client, namespace) {
                var query: [(String, String)] = []
                if let name = invocation.value(container) { query.append(("container", name)) }
                if invocation.has(follow) { query.append(("follow", "true")) }
                if let lines = invocation.value(tail) { query.append(("tailLines", lines)) }
                if invocation.has(previous) { query.append(("previous", "true")) }
                if invocation.has(timestamps) { query.append(("timestamps", "true")) }
                let path = ResourceKind.pod.path(namespace: namespace, name: pod) + "/log"
                let response = try await client.open(path, query: query, accept: "text/plain")
                do throws(HTTPError) {
                    while let piece = try await response.next() { Console.out(piece) }
                } catch {
                    throw CommandError("the log of \(pod) ended early: \(error)")
                }
            }
            return 0
        }
    }

    private static func pods(
        _ invocation: Invocation, _ client: KubernetesClient, _ namespace: String
    ) async throws(CommandError) -> [String] {
        var labels = invocation.value(.selector)
        if labels == nil {
            guard invocation.operands.count == 1, let name = invocation.operands.first else {
                throw CommandError.usage("logs", "needs one pod, KIND/NAME or -l LABELS")
            }
            guard name.contains("/") else { return [name] }
            let target = try ObjectNames.parse([name])[0]
            if target.kind.kind == "Pod" { return target.names }
            let owner = try await client.call(.get, target.kind.path(namespace: namespace, name: target.names[0]))
            guard owner.isSuccess else { throw CommandError("Error from server: \(owner.message)") }
            let selector = owner.json["spec"]?["selector"]
            let map = selector?["matchLabels"]?.object ?? selector?.object ?? [:]
            labels = map.compactMap { key, value in value.string.map { "\(key)=\($0)" } }.sorted().joined(
                separator: ",")
        }
        let list = try await client.call(
            .get, ResourceKind.pod.path(namespace: namespace), query: [("labelSelector", labels ?? "")])
        guard list.isSuccess else { throw CommandError("Error from server: \(list.message)") }
        let names = (list.json["items"]?.array ?? []).map { KubernetesObject(json: $0).name }.sorted()
        guard !names.isEmpty else {
            throw CommandError("no pods with labels \(labels ?? "") in namespace \(namespace)")
        }
        return invocation.has(.selector) ? names : Array(names.prefix(1))
    }
}

internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization

private func makeApplier(_ invocation: Invocation, _ loop: EventLoop) -> Applier {
    Applier(
        client: KubernetesClient(runDirectory: invocation.runDirectory, on: loop),
        report: { Console.out($0 + "\n") }, warn: { Console.error("Warning: \($0)\n") })
}

extension Command {
    private static let wait = Flag(
        "wait", "until every connected proxy has acknowledged it; else say which has not, and why")
    private static let timeout = Flag("timeout", value: "TIME", "how long --wait waits: 30s, 2m (default 30s)")

    static let apply = Command(
        "apply", "", "Create or change objects from files",
        details: "All files are read and checked before the first object is applied.",
        flags: [.files, .namespace, wait, timeout, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.has(.files), invocation.operands.isEmpty else {
            throw CommandError.usage("apply", "needs -f FILE")
        }
        let patience = try duration(invocation.value(timeout) ?? "30s")
        let manifests = try Manifest.load(invocation.all(.files), namespace: invocation.value(.namespace))
        return try onLoop { loop throws(CommandError) in
            let applier = makeApplier(invocation, loop)
            let revision = try await applier.apply(manifests)
            if invocation.has(wait) {
                try await Convergence(client: applier.client, loop: loop).wait(for: revision, timeout: patience)
            }
            return 0
        }
    }

    /// `500ms`, `30s`, `2m`.
    private static func duration(_ text: String) throws(CommandError) -> Duration {
        for (unit, milliseconds) in [("ms", 1), ("s", 1000), ("m", 60_000)] where text.hasSuffix(unit) {
            if let number = Int(text.dropLast(unit.count)), (0...86_400_000 / milliseconds).contains(number) {
                return .milliseconds(number * milliseconds)
            }
        }
        throw CommandError.usage("apply", "--timeout \(text): not a time like 30s")
    }

    private static let ignoreNotFound = Flag("ignore-not-found", "an object that is not there is no failure")
    private static let noWait = Flag("no-wait", "do not wait until the objects are gone")

    static let delete = Command(
        "delete", "[KIND NAME…]", "Delete objects, by file or by name",
        flags: [.files, .namespace, .selector, ignoreNotFound, noWait, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        if invocation.has(.files) {
            let manifests = try Manifest.load(invocation.all(.files), namespace: invocation.value(.namespace))
            return try onLoop { loop throws(CommandError) in
                try await makeApplier(invocation, loop).delete(
                    manifests, ignoreNotFound: invocation.has(ignoreNotFound))
                return 0
            }
        }
        let targets = try ObjectNames.parse(invocation.operands)
        let namespace = invocation.value(.namespace) ?? "default"
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            var gone: [String] = []
            for target in targets {
                var names = target.names
                if names.isEmpty {
                    guard let labels = invocation.value(.selector) else {
                        throw CommandError.usage("delete", "needs -f FILE, names, or a label selector -l")
                    }
                    let path = target.kind.path(namespace: namespace)
                    let list = try await client.call(.get, path, query: [("labelSelector", labels)])
                    guard list.isSuccess else { throw CommandError("Error from server: \(list.message)") }
                    names = (list.json["items"]?.array ?? []).map { KubernetesObject(json: $0).name }
                }
                for name in names {
                    let path = target.kind.path(namespace: namespace, name: name)
                    let answer = try await client.call(.delete, path, body: ["propagationPolicy": "Background"])
                    if answer.status == 404, invocation.has(ignoreNotFound) { continue }
                    guard answer.isSuccess else { throw CommandError("Error from server: \(answer.message)") }
                    Console.out("\(target.kind.qualifiedName) \"\(name)\" deleted\n")
                    gone.append(path)
                }
            }
            if !invocation.has(noWait) {
                for path in gone {
                    while try await client.call(.get, path).isSuccess { await loop.sleep(for: .milliseconds(100)) }
                }
            }
            return 0
        }
    }
}

/// What operands name: `pods web-1`, `pod/web-1 svc/web`, `pods,services`.
struct ObjectNames: Sendable {
    let kind: ResourceKind
    let names: [String]

    static func parse(_ operands: [String]) throws(CommandError) -> [ObjectNames] {
        guard let first = operands.first else {
            throw CommandError("name what you mean: KIND, KIND NAME… or KIND/NAME…", status: 2)
        }
        if first.contains("/") {
            var result: [ObjectNames] = []
            for operand in operands {
                let parts = operand.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
                guard parts.count == 2, !parts[1].isEmpty else {
                    throw CommandError("\"\(operand)\" is not KIND/NAME", status: 2)
                }
                result.append(ObjectNames(kind: try .named(parts[0]), names: [parts[1]]))
            }
            return result
        }
        if first == "all" {
            return ResourceKinds.standard.all.filter { $0.categories.contains("all") }.map {
                ObjectNames(kind: $0, names: [])
            }
        }
        let words = first.split(separator: ",").map(String.init)
        var result: [ObjectNames] = []
        for word in words { result.append(ObjectNames(kind: try .named(word), names: Array(operands.dropFirst()))) }
        return result
    }
}

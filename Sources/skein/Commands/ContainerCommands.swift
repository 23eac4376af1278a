internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Workloads

// `skein ps`, `stop` and `rm`: Docker's words for the containers of `skein run`.
extension Command {
    private static let all = Flag("all", short: "a", "those that have ended, too")
    private static let force = Flag("force", short: "f", "also those that run")
    private static let time = Flag("time", short: "t", value: "SECONDS", "how long they have to end (default 10)")

    static let ps = Command(
        "ps", "", "Show containers of skein run",
        flags: [all, quiet, untruncated, .output, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.isEmpty else { throw CommandError.usage("ps", "it takes no operands") }
        return try onLoop { loop throws(CommandError) in
            let list = try await ContainerList.load(KubernetesClient(runDirectory: invocation.runDirectory, on: loop))
            let known = try await NodeClient(runDirectory: invocation.runDirectory, on: loop).ask(.get, "/containers")
            let shown = list.all.filter { invocation.has(all) || $0.isRunning }
            let wall = WallClock.now
            let now = Timestamp(seconds: wall.seconds, nanoseconds: wall.nanoseconds)
            let isWhole = invocation.has(untruncated)
            let rows = shown.map { container -> [String] in
                let place = (known.array ?? []).first { $0["name"]?.string == container.name }
                let command = container.command.joined(separator: " ")
                let text = isWhole || command.count <= 20 ? command : command.prefix(19) + "…"
                return [
                    isWhole ? container.id : String(container.id.prefix(12)), container.image, "\"\(text)\"",
                    ContainerView.age(container.created, now) + " ago", container.status(now: now),
                    ContainerView.ports(place?["ports"]), container.name,
                    (place?["networks"]?.array ?? []).compactMap(\.string).joined(separator: ","),
                ]
            }
            let names = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
            if invocation.has(quiet) {
                Console.out(rows.map { $0[0] + "\n" }.joined())
            } else if invocation.value(.output) == "json" {
                let keys = ["ID", "Image", "Command", "CreatedSince", "Status", "Ports", "Names", "Networks"]
                let items = rows.map { row in
                    JSON.object(Dictionary(zip(keys, row.map { .string($0) }), uniquingKeysWith: { $1 }))
                }
                Console.out(JSON.array(items).pretty + "\n")
            } else {
                Console.out(TextTable(header: names, rows: rows.map { Array($0.prefix(names.count)) }).text)
            }
            return 0
        }
    }

    static let stop = Command(
        "stop", "CONTAINER [CONTAINER...]", "End containers of skein run; they stay, with their logs, until skein rm",
        flags: [time, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard !invocation.operands.isEmpty else { throw CommandError.usage("stop", "requires at least 1 argument") }
        let seconds = invocation.value(time) ?? "10"
        guard Int(seconds).map({ (0...86_400).contains($0) }) == true else {
            throw CommandError.usage("stop", "--time \(seconds): not a number of seconds")
        }
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let node = NodeClient(runDirectory: invocation.runDirectory, on: loop)
            let list = try await ContainerList.load(client)
            return await forEach(invocation.operands) { word throws(CommandError) in
                let container = try list.find(word)
                if container.isRunning {
                    _ = try await node.ask(
                        .post, NodeClient.path("containers", container.name, "stop") + "?t=\(seconds)")
                    try await ended(container, client, on: loop)
                }
                Console.out(word + "\n")
            }
        }
    }

    /// The status is written a moment after the end.
    private static func ended(
        _ container: ContainerView, _ client: KubernetesClient, on loop: EventLoop
    ) async throws(CommandError) {
        while try await ContainerList.load(client).all.first(where: { $0.id == container.id })?.isRunning == true {
            await loop.sleep(for: .milliseconds(50))
        }
    }

    static let rm = Command(
        "rm", "CONTAINER [CONTAINER...]", "Remove containers of skein run",
        flags: [force, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard !invocation.operands.isEmpty else { throw CommandError.usage("rm", "requires at least 1 argument") }
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let list = try await ContainerList.load(client)
            return await forEach(invocation.operands) { word throws(CommandError) in
                let container: ContainerView
                do throws(CommandError) { container = try list.find(word) } catch {
                    guard invocation.has(force) else { throw error }
                    return
                }
                guard !container.isRunning || invocation.has(force) else {
                    throw CommandError(
                        "Error response from daemon: You cannot remove a running container \(container.id). Stop the container before attempting removal or force remove"
                    )
                }
                try await remove(container.name, client, on: loop)
                Console.out(word + "\n")
            }
        }
    }

    /// Deletes a container's pod without patience, and returns when it is gone.
    static func remove(
        _ name: String, _ client: KubernetesClient, on loop: EventLoop
    ) async throws(CommandError) {
        let path = ResourceKind.pod.path(namespace: "default", name: name)
        let answer = try await client.call(.delete, path, body: ["gracePeriodSeconds": 1])
        guard answer.isSuccess || answer.status == 404 else {
            throw CommandError("Error response from daemon: \(answer.message)")
        }
        let uid = answer.json["metadata"]?["uid"]
        while true {
            let found = try await client.call(.get, path)
            guard found.isSuccess, uid == nil || found.json["metadata"]?["uid"] == uid else { return }
            await loop.sleep(for: .milliseconds(50))
        }
    }
}

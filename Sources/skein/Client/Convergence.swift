internal import HTTP
internal import IO
internal import Serialization

/// Waits until every connected proxy has acknowledged what was applied.
struct Convergence: Sendable {
    let client: KubernetesClient
    let loop: EventLoop

    /// How often the control plane is asked.
    private static let interval = Duration.milliseconds(20)

    /// Waits for a revision of the store; says who is missing, and why, when the time is up or somebody refuses.
    func wait(for revision: Int64, timeout: Duration) async throws(CommandError) {
        let deadline = loop.now + timeout
        var state = JSON.null
        repeat {
            let answer = try await client.call(.get, "/skein/v1/convergence", query: [("revision", "\(revision)")])
            guard answer.isSuccess else { throw CommandError("Error from server: \(answer.message)") }
            state = answer.json
            if state["complete"]?.bool == true {
                Console.out("revision \(revision) acknowledged by \(state["proxies"]?.int ?? 0) proxies\n")
                return
            }
            let isRefused = !(state["refused"]?.array ?? []).isEmpty
            if isRefused, (state["waiting"]?.array ?? []).isEmpty { break }
            await loop.sleep(for: Self.interval)
        } while loop.now < deadline
        throw CommandError(Self.problem(state, revision))
    }

    static func problem(_ state: JSON, _ revision: Int64) -> String {
        var text = ""
        let waiting = (state["waiting"]?.array ?? []).compactMap(\.string)
        if state["translated"]?.bool != true { text += "the control plane has not come to revision \(revision) yet\n" }
        if !waiting.isEmpty {
            let rest = waiting.count > 10 ? " and \(waiting.count - 10) more" : ""
            text +=
                "revision \(revision) is not acknowledged by \(waiting.count) of \(state["proxies"]?.int ?? 0) proxies: "
                + waiting.prefix(10).joined(separator: ", ") + rest + "\n"
        }
        for refusal in state["refused"]?.array ?? [] { text += ProxyTables.text(refusal) }
        return text.isEmpty ? "revision \(revision) is not acknowledged" : String(text.dropLast())
    }
}

internal import IO
internal import Identity
internal import Serialization

/// Asks the control plane of this machine over its root-only socket: one line there, one line back.
enum AgentChannel {
    /// Bytes of an answer at most: a mesh of ten thousand workloads.
    private static let answerBytesMax = 16 << 20

    /// Sends a command and reads its answer.
    static func run(
        _ command: CertificateCommand, runDirectory: String, on loop: EventLoop
    ) async throws(CommandError) -> JSON {
        let path = runDirectory + "/agent.sock"
        let answer: JSON
        do throws(SystemError) {
            let stream = try await SocketStream.connect(to: .unix(path), on: loop)
            defer { stream.close() }
            let deadline = loop.schedule(after: .seconds(20)) { stream.close() }
            defer { deadline.cancel() }
            try await stream.write(command.json.bytes + [0x0A])
            answer = try await read(stream)
        } catch {
            throw CommandError(
                "the control plane at \(path) does not answer (\(error)); is `skein up` running? see skein status")
        }
        if let problem = answer["error"]?.string { throw CommandError("skein certs: \(problem)") }
        return answer
    }

    /// The first line that is an answer: what agents are told without asking comes before it.
    private static func read(_ stream: SocketStream) async throws(SystemError) -> JSON {
        var rest: [UInt8] = []
        while rest.count <= answerBytesMax {
            let piece = try await stream.read(upTo: 65_536)
            guard !piece.isEmpty else { throw SystemError(104, "read") }
            rest += piece
            while let end = rest.firstIndex(of: 0x0A) {
                let line = Array(rest[..<end])
                rest.removeSubrange(...end)
                if let json = try? JSON.parse(line), json["op"] == nil { return json }
            }
        }
        throw SystemError(90, "read")
    }
}

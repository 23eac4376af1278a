internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization

/// Recorded requests of one proxy, asked of two configurations: `skein-proxy explain --batch` as a child, the code that serves.
struct RequestComparison: Sendable {
    /// A directory of its own, for files that are gone afterwards.
    let directory: String
    let program: String

    init() throws(CommandError) {
        guard let program = Preflight.path(of: "skein-proxy") else {
            throw CommandError("skein diff: skein-proxy is not beside skein", status: 2)
        }
        self.program = program
        directory = "/tmp/skein-diff-\(Environment.processID)"
        do throws(SystemError) {
            try File.makeDirectory(directory, mode: 0o700)
        } catch {
            throw CommandError("skein diff: \(error)", status: 2)
        }
    }

    func close() { try? File.removeTree(directory) }

    /// One answer for each request.
    func run(
        _ requests: [JSON], old: [UInt8], new: [UInt8]
    ) throws(CommandError) -> [JSON] {
        do throws(SystemError) {
            try File.write(directory + "/old", old)
            try File.write(directory + "/new", new)
            try File.write(directory + "/requests", Array(requests.map { $0.text + "\n" }.joined().utf8))
            for name in ["answers", "errors"] { try? File.remove("\(directory)/\(name)") }
            let output = try Descriptor.append(directory + "/answers", mode: 0o600)
            let errors = try Descriptor.append(directory + "/errors", mode: 0o600)
            var command = Child.Command([
                program, "explain", "--requests", directory + "/requests", "--resources", directory + "/old",
                "--resources", directory + "/new",
            ])
            command.descriptors = [1: output.number, 2: errors.number]
            command.deathSignal = 9
            let status = try Child(command).wait()
            let bytes = try File.read(directory + "/answers")
            let answers = bytes.split(separator: 0x0A).compactMap { try? JSON.parse(Array($0)) }
            guard status.isSuccess, answers.count == requests.count else {
                let text = String(decoding: try File.read(directory + "/errors"), as: UTF8.self)
                throw SystemError(5, "skein-proxy explain (\(status)): \(text)")
            }
            return answers
        } catch {
            throw CommandError("skein diff: \(error)", status: 2)
        }
    }
}

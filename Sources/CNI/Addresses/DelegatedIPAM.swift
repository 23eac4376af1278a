internal import Glibc
internal import IO
internal import Serialization

/// Another IPAM plugin, started with our own input and environment (CNI specification section 4).
struct DelegatedIPAM {
    let type: String
    let request: CNIRequest
    let configuration: NetworkConfiguration

    /// Bytes of its answer, at most.
    static let answerMax = 1 << 20

    /// Runs a verb of it; its result, when it prints one.
    @discardableResult
    func run(_ verb: CNIVerb) throws(CNIError) -> CNIResult? {
        guard let program = request.path.map({ "\($0)/\(type)" }).first(where: File.isExecutable) else {
            throw CNIError(
                .invalidConfiguration,
                "ipam.type: there is no plugin \(type) in CNI_PATH (\(request.path.joined(separator: ":")))")
        }
        var environment = [
            "CNI_COMMAND=\(verb.rawValue)", "CNI_CONTAINERID=\(request.containerID)", "CNI_NETNS=\(request.namespace)",
            "CNI_IFNAME=\(request.interface)", "CNI_PATH=\(request.path.joined(separator: ":"))",
            "PATH=\(Environment.variable("PATH") ?? "/usr/sbin:/usr/bin:/sbin:/bin")",
        ]
        if let arguments = Environment.variable("CNI_ARGS") { environment.append("CNI_ARGS=\(arguments)") }
        let (status, output) = try reporting { () throws(SystemError) in
            try DelegatedIPAM.call(program, environment, configuration.raw.bytes)
        }
        let answer = try? JSON.parse(output)
        guard status.isSuccess else {
            let message = answer?["msg"]?.string ?? String(decoding: output.prefix(300), as: UTF8.self)
            throw CNIError(
                .inputOutput, "ipam \(type): \(message.isEmpty ? "it ended with \(status)" : message)",
                details: answer?["details"]?.string ?? "", delegated: answer?["code"]?.int)
        }
        guard verb == .add else { return nil }
        guard let answer else { throw CNIError(.decode, "ipam \(type): its answer is no JSON") }
        return try CNIResult(try JSONReader(answer, path: "the answer of ipam \(type)"))
    }

    private static func call(
        _ program: String, _ environment: [String], _ input: [UInt8]
    ) throws(SystemError) -> (ExitStatus, [UInt8]) {
        let (reader, writer) = try Child.pipe()
        // F_SETPIPE_SZ: as large as an input may be, so that writing does not wait for the reader.
        _ = fcntl(writer, 1031, Int32(CNIPlugin.inputMax))
        defer { close(reader) }
        FileWriterOnce.write(writer, input)
        close(writer)
        var command = Child.Command([program], environment: environment)
        command.descriptors[0] = reader
        command.descriptors[2] = 2
        return try Child.run(command, limit: answerMax)
    }
}

/// Writes to a pipe that has room for all of it.
private enum FileWriterOnce {
    static func write(_ fd: Int32, _ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

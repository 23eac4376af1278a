internal import IO
internal import Serialization

/// One call of a container runtime, from environment and standard input to the answer.
public struct CNIPlugin {
    /// Bytes of a configuration, at most.
    public static let inputMax = 1 << 20

    /// What a call ends with.
    public struct Answer: Sendable, Hashable {
        /// What goes to standard output.
        public var output: [UInt8]
        /// The exit status.
        public var status: Int32
    }

    private let variable: (String) -> String?
    /// Whether the process goes on after the call.
    private let isLasting: Bool

    /// A call with those environment variables.
    ///
    /// - Parameter isLasting: the process goes on after the call: a node agent's.
    public init(isLasting: Bool = false, variable: @escaping (String) -> String?) {
        self.variable = variable
        self.isLasting = isLasting
    }

    /// Has the node agent of this machine do what the environment asks for; without one, does it itself.
    ///
    /// - Parameter note: told why the agent has not done it although it could be expected to.
    public func call(input: [UInt8], note: (String) -> Void) -> Answer {
        call(input: input, node: NodeCall(), note: note)
    }

    /// As above, with the place of the agent.
    func call(input: [UInt8], node: NodeCall, note: (String) -> Void) -> Answer {
        let verb = variable("CNI_COMMAND").flatMap(CNIVerb.init(rawValue:))
        guard let verb, verb != .version else { return run(input: input) }
        // Another plugin that we start gets our environment, which is not the agent's.
        let ipam = (try? JSON.parse(input))?["ipam"]?["type"]?.string ?? "skein"
        guard ["skein", "host-local"].contains(ipam) else { return run(input: input) }
        switch node.ask(input, variable) {
        case .done(let answer): return answer
        case .alone(let reason):
            if let reason { note("skein-cni: \(reason); done without it") }
            return run(input: input)
        case .unknown(let reason):
            // Doing these again does no harm; an ADD might find its own half-made link.
            guard verb == .add else {
                note("skein-cni: \(reason); done without it")
                return run(input: input)
            }
            let error = CNIError(.tryAgainLater, "\(reason): call DEL, and try again")
            return Answer(output: Array((error.json(version: CNIVersion.newest.rawValue).text + "\n").utf8), status: 1)
        }
    }

    /// Does what the environment asks for, with the bytes of standard input.
    ///
    /// Works in the network namespace of the calling thread, which it leaves for moments: it must be the caller's own. Errors are answers, too: JSON with a code of the specification.
    public func run(input: [UInt8]) -> Answer {
        do throws(CNIError) {
            let output = try answer(input)
            return Answer(output: output.map { Array(($0.text + "\n").utf8) } ?? [], status: 0)
        } catch {
            let said = (try? JSON.parse(input))?["cniVersion"]?.string.flatMap(CNIVersion.init)
            let json = error.json(version: (said ?? CNIVersion.newest).rawValue)
            return Answer(output: Array((json.text + "\n").utf8), status: 1)
        }
    }

    private func answer(_ input: [UInt8]) throws(CNIError) -> JSON? {
        // Before the rest of the environment: podman asks for the version with dummy values.
        if variable("CNI_COMMAND") == CNIVerb.version.rawValue { return versions(input) }
        let request = try CNIRequest(variable: variable)
        let configuration = try CNIPlugin.configuration(input, for: request.verb)
        let host: LinkSocket
        do throws(SystemError) { host = try LinkSocket() } catch { throw CNIError(.inputOutput, error.description) }
        let attachment = Attachment(
            request: request, configuration: configuration, host: host, isLasting: isLasting)
        switch request.verb {
        case .add: return try attachment.add().json(configuration.version)
        case .delete: try attachment.delete()
        case .check: try attachment.check()
        case .collect: try attachment.collect()
        case .status: try attachment.status()
        case .version: return versions(input)
        }
        return nil
    }

    static func configuration(_ input: [UInt8], for verb: CNIVerb) throws(CNIError) -> NetworkConfiguration {
        guard input.count < inputMax else {
            throw CNIError(.decode, "the configuration on standard input has \(inputMax) bytes or more")
        }
        let value: JSON
        do throws(JSONError) { value = try JSON.parse(input) } catch {
            throw CNIError(.decode, "the configuration on standard input is no JSON: \(error)")
        }
        return try NetworkConfiguration(value, for: verb)
    }

    /// What VERSION answers; the caller's version is repeated, whatever it is.
    private func versions(_ input: [UInt8]) -> JSON {
        let said = (try? JSON.parse(input))?["cniVersion"]?.string ?? CNIVersion.newest.rawValue
        return [
            "cniVersion": .string(said),
            "supportedVersions": .array(CNIVersion.allCases.map { .string($0.rawValue) }),
        ]
    }
}

internal import CNFTables
internal import IO

/// What the kernel has counted at one end of the policies' look-ups.
public struct PolicyCounter: Sendable, Hashable {
    /// The rule or the policies, as the rule's comment says it (at most 120 characters).
    public var cause: String
    /// Whether these connections were let through.
    public var isAllowed: Bool
    /// First packets of connections.
    public var packets: UInt64

    /// What was counted.
    public init(cause: String, isAllowed: Bool, packets: UInt64) {
        self.cause = cause
        self.isAllowed = isAllowed
        self.packets = packets
    }

    /// The counters of the namespace of the calling thread; none where no policies are enforced.
    ///
    /// Needs the right to read the kernel's rules.
    public static func read() throws(NetworkError) -> [PolicyCounter] {
        guard try NFTables.tables().contains(where: { $0.name == PolicyProgram.table }) else { return [] }
        let text = try NFTables.output(of: "list table inet \(PolicyProgram.table)", flags: cnftables_output_terse)
        return text.split(separator: "\n").compactMap { read(line: String($0)) }
    }

    /// `counter packets 3 bytes 180 accept comment "…"`.
    private static func read(line: String) -> PolicyCounter? {
        let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
        guard words.first == "counter", words.count > 5, words[1] == "packets", let packets = UInt64(words[2]),
            let quote = line.firstIndex(of: "\""), let end = line.lastIndex(of: "\""), quote < end
        else { return nil }
        let cause = String(line[line.index(after: quote)..<end])
        return PolicyCounter(
            cause: cause, isAllowed: !words.contains("drop") && !words.contains("reject"), packets: packets)
    }

    /// A cause in the form in which comments have it.
    public static func comment(_ cause: PolicyDecision.Cause) -> String {
        String(NFTables.comment("\(cause)").dropFirst().dropLast())
    }
}

/// A connection that was dropped, or would be if policies in audit mode were in force.
public struct PolicyFlow: Sendable, Hashable {
    /// `source . destination . protocol . port`.
    public var flow: String
    /// Whether it was dropped.
    public var isDropped: Bool

    /// The flows of the last quarter of an hour, at most 1,024 of each kind and family.
    public static func read() throws(NetworkError) -> [PolicyFlow] {
        guard try NFTables.tables().contains(where: { $0.name == PolicyProgram.table }) else { return [] }
        var result: [PolicyFlow] = []
        for set in ["dropped", "audited"] {
            for suffix in ["4", "6"] {
                let text = try NFTables.output(of: "list set inet \(PolicyProgram.table) \(set)\(suffix)")
                guard let start = text.firstRange(of: "elements = {")?.upperBound else { continue }
                let body = text[start...].prefix { $0 != "}" }
                for element in body.split(separator: ",") {
                    let words = element.split(whereSeparator: { " \t\n".contains($0) }).prefix(7)
                    guard words.count == 7 else { continue }
                    result.append(PolicyFlow(flow: words.joined(separator: " "), isDropped: set == "dropped"))
                }
            }
        }
        return result
    }
}

extension PolicySet {
    /// The policies in the form in which the kernel looks things up, to be asked.
    ///
    /// Pods that are not of this node have no answer.
    public struct Compiled: Sendable {
        private let program: PolicyProgram

        /// Compiles.
        public init(_ set: PolicySet) { program = PolicyProgram(set) }

        /// What becomes of a packet at one end; nil when there is no pod, or when the pod talks to itself.
        public func decide(_ packet: Packet, _ direction: Direction) -> PolicyDecision? {
            program.decide(packet, direction)
        }
    }
}

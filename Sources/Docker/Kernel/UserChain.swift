internal import CNI
internal import IO

/// The chain DOCKER-USER, which Docker makes for rules of others and never changes.
///
/// Where dockerd has switched on forwarding itself, it drops every forwarded packet that no chain of iptables accepts: ours too,
/// whatever our own tables say. Two rules for each bridge accept what Docker accepts for its own: what comes from containers, and
/// what belongs to their connections or published ports. They are made by the program `iptables`, since only it knows which of
/// the two kinds of tables this machine uses. Machines without that chain have none of this.
enum UserChain {
    private static let chain = "DOCKER-USER"
    private static let patience = Duration.seconds(10)

    /// The rules of a network, in the words of iptables(8).
    static func rules(_ network: DockerNetwork) -> [[String]] {
        let note = ["-m", "comment", "--comment", network.alias, "-j", "ACCEPT"]
        let device = network.device
        let inside = ["-i", device, "-o", device] + note
        guard !network.wish.isInternal else { return [inside] }
        return [
            ["-i", device] + note,
            ["-o", device, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT"] + note,
        ]
    }

    /// Adds the rules of a network where they are missing.
    static func allow(_ network: DockerNetwork) throws(SystemError) {
        for program in programs(network) where try run(program, ["-n", "-L", chain]) {
            for rule in rules(network) where try !run(program, ["-C", chain] + rule) {
                guard try run(program, ["-I", chain] + rule) else {
                    throw SystemError(5, "\(program) -I \(chain) \(rule.joined(separator: " "))")  // EIO
                }
            }
        }
    }

    /// Removes the rules of a network.
    static func forget(_ network: DockerNetwork) throws(SystemError) {
        for program in programs(network) {
            for rule in rules(network) { while try run(program, ["-D", chain] + rule) {} }
        }
    }

    /// The programs for the families of a network; a machine without them has no such chain.
    private static func programs(_ network: DockerNetwork) -> [String] {
        let names =
            network.wish.subnets.contains { $0.prefix.address.isV6 } ? ["iptables", "ip6tables"] : ["iptables"]
        return names.compactMap { name in
            ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"].lazy.map { "\($0)/\(name)" }
                .first(where: File.isExecutable)
        }
    }

    /// Whether the program has succeeded.
    private static func run(_ program: String, _ words: [String]) throws(SystemError) -> Bool {
        let (status, _) = try Child.run(Child.Command([program, "-w", "5"] + words), limit: 4096, timeout: patience)
        return status.isSuccess
    }
}

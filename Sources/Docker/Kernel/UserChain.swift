internal import CNI
package import IO

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
    static func allow(_ network: DockerNetwork) throws(SystemError) { try allow(rules(network), programs(network)) }

    private static func allow(_ rules: [[String]], _ programs: [String]) throws(SystemError) {
        for program in programs where try run(program, ["-n", "-L", chain]) {
            for rule in rules where try !run(program, ["-C", chain] + rule) {
                guard try run(program, ["-I", chain] + rule) else {
                    throw SystemError(5, "\(program) -I \(chain) \(rule.joined(separator: " "))")  // EIO
                }
            }
        }
    }

    /// Removes the rules of a network.
    static func forget(_ network: DockerNetwork) throws(SystemError) { try forget(rules(network), programs(network)) }

    private static func forget(_ rules: [[String]], _ programs: [String]) throws(SystemError) {
        for program in programs {
            for rule in rules { while try run(program, ["-D", chain] + rule) {} }
        }
    }

    /// The rules of pods, whose links are of one group.
    static func rules(group: Int) -> [[String]] {
        let note = ["-m", "comment", "--comment", "skein pods", "-j", "ACCEPT"]
        let group = "0x" + String(group, radix: 16)
        return [
            ["-m", "devgroup", "--src-group", group] + note,
            ["-m", "devgroup", "--dst-group", group, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED,DNAT"] + note,
        ]
    }

    /// Adds the rules of pods where they are missing.
    static func allow(group: Int) throws(SystemError) {
        try allow(rules(group: group), programs(withV6: true))
    }

    /// Removes the rules of pods.
    static func forget(group: Int) throws(SystemError) {
        try forget(rules(group: group), programs(withV6: true))
    }

    /// Removes the rules of networks that nobody knows: of a call that was killed while it made them; how many there were.
    static func collect(notePrefix: String, keeping notes: Set<String>) throws(SystemError) -> Int {
        var count = 0
        for program in programs(withV6: true) {
            let (status, listing) = try Child.run(command(program, ["-S", chain]), timeout: patience)
            // Without such a chain there is nothing.
            guard status.isSuccess else { continue }
            let text = String(decoding: listing, as: UTF8.self)
            for rule in lost(text, notePrefix: notePrefix, keeping: notes) where try run(program, rule) { count += 1 }
        }
        return count
    }

    /// The words that delete the rules of a listing (`iptables -S`) whose comment begins so and is none of these.
    ///
    /// Pure.
    static func lost(_ listing: String, notePrefix: String, keeping notes: Set<String>) -> [[String]] {
        listing.split(separator: "\n").compactMap { line in
            // Only comments are quoted, and those of ours have no quotes in them.
            let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
            guard line.hasPrefix("-A \(chain) "), parts.count == 3, parts[1].hasPrefix(notePrefix),
                !notes.contains(String(parts[1]))
            else { return nil }
            let words = parts[0].split(separator: " ") + [parts[1]] + parts[2].split(separator: " ")
            return ["-D"] + words.dropFirst().map(String.init)
        }
    }

    /// The programs for the families of a network; a machine without them has no such chain.
    private static func programs(_ network: DockerNetwork) -> [String] {
        programs(withV6: network.wish.subnets.contains { $0.prefix.address.isV6 })
    }

    private static func programs(withV6: Bool) -> [String] {
        let names = withV6 ? ["iptables", "ip6tables"] : ["iptables"]
        return names.compactMap { name in
            ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"].lazy.map { "\($0)/\(name)" }
                .first(where: File.isExecutable)
        }
    }

    /// It ends with us: what it did after our end nobody would take back.
    private static func command(_ program: String, _ words: [String]) -> Child.Command {
        var command = Child.Command([program, "-w", "5"] + words)
        command.deathSignal = 9  // SIGKILL
        return command
    }

    /// Whether the program has succeeded; no when it ends with 1, which it does where there is no such rule or chain.
    ///
    /// Any other end (4: somebody else was quicker, or holds the lock) says nothing of the rule: it is tried again, three times at
    /// most, and then is an error. Else a rule that is to go would stay behind in silence.
    private static func run(_ program: String, _ words: [String]) throws(SystemError) -> Bool {
        for _ in 0..<3 {
            let (status, _) = try Child.run(command(program, words), limit: 4096, timeout: patience)
            if status.isSuccess { return true }
            if status == .exited(1) { return false }
        }
        throw SystemError(5, "\(program) \(words.joined(separator: " "))")  // EIO
    }
}

/// Pods beside a Docker engine that forbids all forwarding but its own.
package enum EngineForwarding {
    /// Lets packets of links of that group pass; a machine whose engine has made no such chain has none of this.
    package static func allow(group: Int) throws(SystemError) { try UserChain.allow(group: group) }
    /// Takes that back.
    package static func forget(group: Int) throws(SystemError) { try UserChain.forget(group: group) }
}

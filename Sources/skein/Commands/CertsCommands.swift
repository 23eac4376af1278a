internal import IO
internal import Identity
internal import KubernetesAPI
internal import Serialization
internal import TLS

extension Command {
    private static let within = Flag(
        "within", value: "HOURS", "also fail when something ends within so many hours (default 0)")
    private static let rootCertificate = Flag("root-cert", value: "FILE", "the new root's certificate, PEM")
    private static let signerCertificate = Flag(
        "ca-cert", value: "FILE", "the certificate that signs: the root, or an intermediate of it")
    private static let signerKey = Flag("ca-key", value: "FILE", "its key")
    private static let signerChain = Flag("cert-chain", value: "FILE", "what stands between it and the root")
    private static let wait = Flag("wait", "return when the new root signs")
    private static let announcement = Flag(
        "announcement", value: "SECONDS", "how long the new root is trusted at least before it signs (default 60)")

    static let certsList = Command(
        "certs list", "", "Show roots, workload certificates and what is wrong with them",
        details:
            "Exit status 1 when somebody must do something: a certificate that was not renewed, a root that ends.",
        flags: [.output, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let facts = try ask(.list, invocation)
        try show(facts, invocation) { CertificateTables.overview(facts) }
        return CertificateTables.alarms(facts).isEmpty ? 0 : 1
    }

    static let certsExpiry = Command(
        "certs expiry", "", "Show what ends when, the first to end first",
        details: "Exit status 1 when something has ended, should have been renewed, or ends within --within hours.",
        flags: [within, .output, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        var hours: Int64 = 0
        if let text = invocation.value(within) {
            guard let number = Int64(text), (0...1_000_000).contains(number) else {
                throw CommandError.usage("certs expiry", "--within \(text): not a number of hours")
            }
            hours = number
        }
        let facts = try ask(.list, invocation)
        let now = WallClock.now.seconds
        let entries = CertificateTables.expiries(facts)
        try show(
            .array(
                entries.map {
                    [
                        "subject": .string($0.subject),
                        "notAfter": .string(Timestamp(seconds: $0.notAfter).secondsText),
                    ]
                }), invocation
        ) { CertificateTables.expiry(entries, now: now) }
        let isLate = entries.contains { $0.notAfter - now <= hours * 3600 }
        return isLate || !CertificateTables.alarms(facts).isEmpty ? 1 : 0
    }

    static let certsVerify = Command(
        "certs verify", "[FILE…]", "Check that certificates lead to a root of the mesh",
        details:
            "Without files: every workload has a certificate under a present root and its proxy has taken the present roots. "
            + "Files are PEM, the leaf first.",
        flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard !invocation.operands.isEmpty else {
            let problems = CertificateTables.problems(try ask(.list, invocation))
            for problem in problems { Console.out(problem + "\n") }
            if problems.isEmpty { Console.out("all certificates lead to a present root\n") }
            return problems.isEmpty ? 0 : 1
        }
        let bundle = try bundle(invocation)
        var isGood = true
        for file in invocation.operands {
            let problem = ChainCheck.problem(try chain(file), trusting: bundle, at: WallClock.now.seconds)
            Console.out("\(file): \(problem ?? "good")\n")
            isGood = isGood && problem == nil
        }
        return isGood ? 0 : 1
    }

    static let certsRotate = Command(
        "certs rotate", "", "Replace the root without a failed request",
        details: """
            In stages: the new root is announced to all proxies; when all have taken it, it signs; the old one is forgotten
            when the last certificate under it has ended (a day). skein certs list shows where it stands. Without files a
            new root is made; with them yours is used, and its key may stay elsewhere when --ca-cert is an intermediate.
            """,
        flags: [
            rootCertificate, signerCertificate, signerKey, signerChain, announcement, wait, .output, .dataDirectory,
            .runDirectory,
        ]
    ) { invocation throws(CommandError) in
        var time: Int64?
        if let text = invocation.value(announcement) {
            guard let seconds = Int64(text), CertificateCommand.announcements.contains(seconds) else {
                throw CommandError.usage("certs rotate", "--announcement \(text): 1 to 604800 seconds")
            }
            time = seconds
        }
        let facts = try ask(.rotate(try given(invocation), announcement: time), invocation)
        guard invocation.has(wait) else {
            try show(facts, invocation) { CertificateTables.roots(facts) }
            return 0
        }
        return try onLoop { loop throws(CommandError) in
            var last = ""
            while true {
                let facts = try await AgentChannel.run(.list, runDirectory: invocation.runDirectory, on: loop)
                guard let next = facts["roots"]?.array?.first(where: { $0["stage"]?.string == "Announced" }) else {
                    try show(facts, invocation) { CertificateTables.roots(facts) }
                    return 0
                }
                let reason = next["waitsFor"]?.string ?? ""
                if !reason.hasSuffix("take it") || last.isEmpty, reason != last {
                    Console.error("root \(next["id"]?.string ?? "") waits for \(reason)\n")
                    last = reason
                }
                await loop.sleep(for: .seconds(1))
            }
        }
    }

    static let certsRecover = Command(
        "certs recover", "", "Make the mesh's authority work again after it has expired or its key was lost",
        details: """
            A new root signs at once, and every workload gets a new certificate. What still holds stays trusted. Connections
            between workloads may fail for the seconds that this takes: use skein certs rotate where nothing is broken.
            """,
        flags: [.output, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let facts = try ask(.recover, invocation)
        try show(facts, invocation) { CertificateTables.roots(facts) }
        return 0
    }

    // MARK: Parts

    static func ask(_ command: CertificateCommand, _ invocation: Invocation) throws(CommandError) -> JSON {
        try onLoop { loop throws(CommandError) in
            try await AgentChannel.run(command, runDirectory: invocation.runDirectory, on: loop)
        }
    }

    private static func show(
        _ facts: JSON, _ invocation: Invocation, _ table: () -> String
    ) throws(CommandError) {
        switch invocation.value(.output) ?? "table" {
        case "table", "wide": Console.out(table())
        case "json": Console.out(facts.pretty + "\n")
        case "yaml": Console.out(YAML.write(facts))
        case let other: throw CommandError("skein certs: -o \(other): table, json and yaml are known", status: 2)
        }
    }

    private static func read(_ path: String) throws(CommandError) -> [UInt8] {
        do throws(SystemError) { return try File.read(path) } catch { throw CommandError(error) }
    }

    private static func chain(_ file: String) throws(CommandError) -> [Certificate] {
        let bytes = try read(file)
        do throws(TLSError) { return try Certificate.all(pem: bytes) } catch {
            throw CommandError("\(file): \(error)")
        }
    }

    private static func given(_ invocation: Invocation) throws(CommandError) -> GivenAuthority? {
        guard let root = invocation.value(rootCertificate) else {
            guard invocation.value(signerCertificate) == nil, invocation.value(signerKey) == nil else {
                throw CommandError.usage("certs rotate", "--root-cert is needed with --ca-cert and --ca-key")
            }
            return nil
        }
        guard let key = invocation.value(signerKey) else {
            throw CommandError.usage("certs rotate", "--ca-key is needed with --root-cert")
        }
        return GivenAuthority(
            root: try read(root), certificate: try read(invocation.value(signerCertificate) ?? root),
            key: try read(key), chain: try invocation.value(signerChain).map(read) ?? [])
    }

    /// The present roots of the mesh.
    private static func bundle(_ invocation: Invocation) throws(CommandError) -> TrustBundle {
        let facts = try ask(.list, invocation)
        do throws(TLSError) {
            return try TrustBundle(pem: Array((facts["rootsPEM"]?.string ?? "").utf8))
        } catch { throw CommandError("skein certs: the roots of the mesh cannot be read: \(error)") }
    }
}

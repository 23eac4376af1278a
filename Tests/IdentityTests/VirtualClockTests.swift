import Identity
import TLS
import Testing

/// A mesh of a few workloads, its authority and one node's agent on a clock that jumps.
private struct VirtualMesh {
    static let hour: Int64 = 3600
    static let day: Int64 = 86_400

    struct Workload {
        var pod: BoundPod
        var credentials: WorkloadCredentials
        /// When its proxy takes a new bundle.
        var takes: (bundle: TrustBundle, at: Int64)?
        var taken: TrustBundle?
    }

    var now: Int64
    var authority: Authority
    var issuer = CertificateIssuer()
    var workloads: [Workload]
    var random: UInt64 = 7
    var isUp = true
    /// Requests between workloads that failed, with the first reason.
    var failed = 0
    var firstFailure: (at: Int64, reason: String)?
    var firstAlarm: Int64?
    var requests = 0
    private var good: [[UInt8]: Int64] = [:]

    init(start: Int64, workloads count: Int) throws {
        now = start
        authority = try Authority.make(now: start)
        workloads = try (0..<count).map {
            Workload(
                pod: BoundPod(
                    uid: "u\($0)", namespace: "shop", name: "w\($0)", serviceAccount: "w\($0)", node: "n1"),
                credentials: try WorkloadCredentials())
        }
    }

    mutating func chance() -> Double {
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(random >> 11) / Double(UInt64(1) << 53)
    }

    var holders: [BundleHolder] {
        let versions = Set(workloads.map { $0.taken?.version ?? "" })
        return [BundleHolder(node: "n1", version: versions.count == 1 ? versions.first ?? "" : "")]
    }

    /// One step of everybody, then every workload calls every other.
    mutating func step(_ seconds: Int64) throws {
        now += seconds
        if isUp { _ = try authority.advance(holders: holders, now: now) }
        for index in workloads.indices {
            if isUp {
                let bundle = authority.bundle
                if workloads[index].credentials.trust(bundle, reissue: authority.reissue) {
                    workloads[index].takes = (bundle, now + Int64(chance() * 60))
                }
                if let request = try workloads[index].credentials.request(now: now) {
                    let pod = workloads[index].pod
                    let jitter = chance()
                    do {
                        let chain = try issuer.issue(
                            request, pod: pod, caller: .node("n1"), trustDomain: "cluster.local", authority: authority,
                            now: now)
                        try workloads[index].credentials.certified(chain.flatMap(\.pem), now: now, jitter: jitter)
                    } catch {
                        workloads[index].credentials.failed(error.message, now: now, jitter: jitter)
                    }
                }
            }
            if let takes = workloads[index].takes, takes.at <= now || seconds > 60 {
                workloads[index].taken = takes.bundle
                workloads[index].takes = nil
            }
        }
        callEverybody()
        watch()
    }

    /// What one thinks of the other's certificate; a chain that was found good stays good until one of it ends.
    private mutating func opinion(of other: Workload, by one: Workload) -> String? {
        guard let bundle = one.taken, let leaf = other.credentials.chain.first else { return "no roots or certificate" }
        let key = leaf.fingerprint + Array(bundle.version.utf8)
        if let until = good[key], now < until { return nil }
        if let problem = ChainCheck.problem(other.credentials.chain, trusting: bundle, at: now) { return problem }
        good[key] = (other.credentials.chain + bundle.roots).map(\.notAfter).min()
        return nil
    }

    private mutating func callEverybody() {
        for server in workloads {
            for client in workloads where client.pod != server.pod {
                requests += 1
                guard let reason = opinion(of: server, by: client) ?? opinion(of: client, by: server) else { continue }
                failed += 1
                if firstFailure == nil { firstFailure = (now, reason) }
            }
        }
    }

    private mutating func watch() {
        let leaves = workloads.compactMap(\.credentials.chain.first)
        let isAlarm =
            leaves.contains {
                CertificateSchedule.health(notBefore: $0.notBefore, notAfter: $0.notAfter, now: now) != .good
            } || !authority.alarms(holders: holders, now: now).isEmpty
        if isAlarm, firstAlarm == nil { firstAlarm = now }
    }

    mutating func run(_ length: Int64, every seconds: Int64) throws {
        let end = now + length
        while now < end { try step(min(seconds, end - now)) }
    }
}

struct VirtualClockTests {
    @Test("ATK-40 400 days with two root rotations: no request fails and nothing is alarming")
    func fourHundredDays() throws {
        var mesh = try VirtualMesh(start: 1_800_000_000, workloads: 3)
        try mesh.run(60, every: 10)
        mesh.failed = 0  // Before the first certificate nobody serves.
        mesh.firstFailure = nil
        mesh.firstAlarm = nil
        try mesh.run(100 * VirtualMesh.day, every: 3 * VirtualMesh.hour)
        let first = mesh.authority.signing?.id
        _ = try mesh.authority.rotate(now: mesh.now)
        try mesh.run(1800, every: 5)
        #expect(mesh.authority.signing?.id != first)
        #expect(mesh.authority.roots.count == 2)
        try mesh.run(2 * VirtualMesh.day, every: 600)
        #expect(mesh.authority.roots.count == 1)
        try mesh.run(150 * VirtualMesh.day, every: 3 * VirtualMesh.hour)
        _ = try mesh.authority.rotate(now: mesh.now)
        try mesh.run(2 * VirtualMesh.day, every: 60)
        try mesh.run(146 * VirtualMesh.day, every: 3 * VirtualMesh.hour)
        #expect(mesh.failed == 0, "\(mesh.firstFailure?.reason ?? "")")
        #expect(mesh.firstAlarm == nil)
        #expect(mesh.requests > 20_000)
    }

    @Test("ATK-40 a control plane that is gone for 30 days is told of hours before the first request fails")
    func outage() throws {
        var mesh = try VirtualMesh(start: 1_800_000_000, workloads: 3)
        try mesh.run(60, every: 10)
        mesh.failed = 0
        mesh.firstFailure = nil
        mesh.firstAlarm = nil
        try mesh.run(10 * VirtualMesh.day, every: 3 * VirtualMesh.hour)
        _ = try mesh.authority.rotate(now: mesh.now)  // The worst moment: a rotation is under way.
        try mesh.run(30, every: 5)
        mesh.isUp = false
        try mesh.run(30 * VirtualMesh.day, every: 600)
        let failure = try #require(mesh.firstFailure)
        let alarm = try #require(mesh.firstAlarm)
        #expect(failure.reason.contains("expired"))
        #expect(failure.at - alarm >= 5 * VirtualMesh.hour, "alarm \((failure.at - alarm) / 60) min before")
        // Back again: the certificates are renewed without a command, and the rotation ends.
        mesh.isUp = true
        try mesh.run(120, every: 5)
        mesh.failed = 0
        mesh.firstFailure = nil
        try mesh.run(5 * VirtualMesh.day, every: 600)
        #expect(mesh.failed == 0, "\(mesh.firstFailure?.reason ?? "")")
        #expect(mesh.authority.announced == nil)
        #expect(mesh.authority.roots.count == 1)
    }

    @Test("ATK-40 after the root has expired one step makes everything work again")
    func recovery() throws {
        var mesh = try VirtualMesh(start: 1_800_000_000, workloads: 2)
        try mesh.run(60, every: 10)
        mesh.isUp = false
        try mesh.run(Authority.rootLifetime + VirtualMesh.day, every: 30 * VirtualMesh.day)
        mesh.isUp = true
        try mesh.run(600, every: 10)
        #expect(mesh.workloads.allSatisfy { $0.credentials.problem.contains("skein certs recover") })
        #expect(
            mesh.authority.alarms(holders: mesh.holders, now: mesh.now).contains { $0.remedy == "skein certs recover" })
        let events = try mesh.authority.recover(now: mesh.now)
        #expect(events.count == 1)
        try mesh.run(600, every: 10)
        mesh.failed = 0
        mesh.firstFailure = nil
        try mesh.run(3 * VirtualMesh.day, every: 600)
        #expect(mesh.failed == 0, "\(mesh.firstFailure?.reason ?? "")")
        #expect(mesh.authority.roots.count == 1)
    }

    @Test("ATK-40 a root of our own is replaced by itself before it ends; one that was given is asked for")
    func rootsOfOldAge() throws {
        let start: Int64 = 1_800_000_000
        var own = try Authority.make(now: start, rootLifetime: 100 * VirtualMesh.day)
        #expect(try own.advance(holders: [], now: start + 79 * VirtualMesh.day).isEmpty)
        #expect(
            try own.advance(holders: [], now: start + 81 * VirtualMesh.day).first.map { "\($0)" }?
                .contains("announced") == true)

        let root = try Authority.makeRoot(now: start, lifetime: 100 * VirtualMesh.day)
        let key = try PrivateKey.makeP256()
        var leaf = CertificateAuthority.Leaf(
            subject: DistinguishedName(commonName: "theirs"), usage: [], notBefore: start,
            notAfter: start + 50 * VirtualMesh.day)
        leaf.pathLength = 0
        let intermediate = try CertificateAuthority(certificate: root.sign(leaf, for: key.publicKey), key: key)
        var given = try Authority.make(root: root.certificate, intermediate: intermediate, chain: [], now: start)
        #expect(try given.advance(holders: [], now: start + 45 * VirtualMesh.day).isEmpty)
        let alarms = given.alarms(holders: [], now: start + 45 * VirtualMesh.day)
        #expect(alarms.contains { $0.problem.contains("ends in 5 days") && $0.remedy.contains("--root-cert") })
    }

    @Test("ATK-48 renewals of certificates that were made at once are spread over a tenth of their life")
    func jitter() {
        let times = [0, 0.25, 0.5, 0.75, 1].map {
            CertificateSchedule.renewal(notBefore: 0, notAfter: 86_400, jitter: $0)
        }
        #expect(times.first == 43_200)
        #expect(times.last == 34_560)
        #expect(Set(times).count == 5)
        let pauses = (0..<12).map { CertificateSchedule.retry(attempt: $0, now: 0, jitter: 1) }
        #expect(pauses.first == 1)
        #expect(pauses.last == 300)
    }

    @Test("A rotation waits for a node that has not taken the new root, and says so")
    func waits() throws {
        let start: Int64 = 1_800_000_000
        var authority = try Authority.make(now: start)
        _ = try authority.rotate(now: start)
        #expect(throws: IdentityError.self) { try authority.rotate(now: start) }
        let late = [BundleHolder(node: "n1", version: authority.bundle.version), BundleHolder(node: "n2", version: "")]
        #expect(try authority.advance(holders: late, now: start + 600).isEmpty)
        #expect(authority.waitsFor(holders: late, now: start + 600)?.contains("n2") == true)
        #expect(authority.alarms(holders: late, now: start + 7200).contains { $0.problem.contains("n2") })
        let files = [
            BundleHolder(node: "n1", version: authority.bundle.version),
            BundleHolder(node: "default/gateway", version: "old", isClient: true),
        ]
        #expect(try authority.advance(holders: files, now: start + 600).isEmpty)
        #expect(
            authority.waitsFor(holders: files, now: start + 600)
                == "client default/gateway, whose files have other roots")
        let all = late.map { BundleHolder(node: $0.node, version: authority.bundle.version) }
        #expect(try authority.advance(holders: all, now: start + 601).count == 1)
    }
}

internal import IO
internal import Identity
internal import Serialization
internal import TLS
internal import Telemetry

// Keys and certificates of the node's pods: made here, certified by the control plane, kept here (decisions 9 and 10).
extension NodeAgent {
    /// Begins, or goes on, to look after a pod's identity, and serves it to the pod's proxy.
    func openIdentity(_ record: PodRecord) throws(WorkloadError) {
        let layout = configuration.layout
        do {
            let identity = try PodIdentity(file: layout.identity(record.pod.uid), on: loop)
            let path = layout.sockets(record.pod.uid) + "/sds.sock"
            try File.remove(path)
            let socket = try Socket.listen(on: .unix(path))
            try File.chmod(path, 0o600)
            try File.chown(path, uid: ContainerManifest.proxyUser, gid: ContainerManifest.proxyUser)
            try identity.serve(socket)
            if let trust { _ = identity.credentials.trust(trust.bundle, reissue: trust.reissue) }
            identity.onAnswer = { [weak self, weak record] in
                guard let self, let record else { return }
                self.assumeIsolated { $0.report(record) }
            }
            record.identity = identity
        } catch {
            throw WorkloadError("NodeNotReady", "cannot make the pod's identity: \(error)")
        }
        attendIdentities()
    }

    func closeIdentity(_ record: PodRecord) {
        record.identity?.close()
        record.identity = nil
    }

    /// Asks for the certificates that are due, and comes again when the next one is.
    func attendIdentities() {
        identityTimer?.cancel()
        identityTimer = nil
        guard !isStopping else { return }
        let now = WallClock.now.seconds
        var next = now + Self.identityPause
        for record in records.values {
            guard let identity = record.identity else { continue }
            if channel != nil { ask(identity, record, now) }
            next = min(next, max(now + 1, identity.credentials.nextDeadline(now: now)))
            warn(record, now)
        }
        // The clock of the wall may be set: nobody sleeps longer than a minute on its word.
        identityTimer = loop.schedule(after: .seconds(max(1, next - now))) {
            self.assumeIsolated { $0.attendIdentities() }
        }
    }

    /// The longest time between two looks at all certificates, seconds.
    private static let identityPause: Int64 = 60

    private func ask(_ identity: PodIdentity, _ record: PodRecord, _ now: Int64) {
        if let number = identity.request, requests[number] != nil, identity.credentials.nextDeadline(now: now) <= now {
            requests[number] = nil
            identity.request = nil
            identity.credentials.failed("the control plane has not answered", now: now, jitter: chance)
        }
        do throws(IdentityError) {
            guard let request = try identity.credentials.request(now: now) else { return }
            lastRequest += 1
            identity.request = lastRequest
            requests[lastRequest] = record.pod.uid
            tell(
                IdentityRequest.certificate(number: lastRequest, uid: record.pod.uid, request: request).json,
                descriptor: nil)
        } catch {
            identity.credentials.failed(error.message, now: now, jitter: chance)
            log.error("no request for a certificate", ["pod": record.pod.fullName, "error": error.description])
        }
    }

    private var chance: Double { Double.random(in: 0...1) }

    /// Somebody must know before the certificate ends.
    private func warn(_ record: PodRecord, _ now: Int64) {
        guard let identity = record.identity, let leaf = identity.credentials.chain.first else { return }
        let health = CertificateSchedule.health(notBefore: leaf.notBefore, notAfter: leaf.notAfter, now: now)
        guard health != .good, record.warnedOf != health else {
            if health == .good { record.warnedOf = nil }
            return
        }
        record.warnedOf = health
        let minutes = (leaf.notAfter - now) / 60
        let text =
            health == .expired
            ? "the certificate has expired: the proxy's peers refuse it"
            : "the certificate ends in \(minutes) min and was not renewed"
        note(
            record, reason: "Certificate\(health.rawValue)",
            message:
                "\(text): \(identity.credentials.problem.isEmpty ? "no control plane" : identity.credentials.problem)",
            isWarning: true)
        log.error(
            "certificate not renewed",
            ["pod": record.pod.fullName, "health": health.rawValue, "error": identity.credentials.problem])
    }

    // MARK: The authority

    /// The connection is new: nothing that was asked before will be answered.
    func identitiesConnected() {
        requests = [:]
        for record in records.values {
            record.identity?.request = nil
            record.identity?.credentials.abandonRequest()
            record.identity?.reported = nil
        }
        attendIdentities()
        for record in records.values { report(record) }
    }

    /// A line of the control plane.
    func received(_ reply: IdentityReply) {
        switch reply {
        case .trust(let notice): take(notice)
        case .certificate(let number, let chain):
            guard let (record, identity) = awaited(number) else { return }
            do {
                try identity.credentials.certified(chain, now: WallClock.now.seconds, jitter: chance)
                try identity.keep()
                identity.publish()
                log.info(
                    "certificate renewed",
                    ["pod": record.pod.fullName, "identity": identity.credentials.identity])
            } catch {
                identity.credentials.failed("\(error)", now: WallClock.now.seconds, jitter: chance)
                log.error("certificate not usable", ["pod": record.pod.fullName, "error": "\(error)"])
            }
            report(record)
            attendIdentities()
        case .refused(let number, let reason):
            guard let (record, identity) = awaited(number) else { return }
            if identity.credentials.problem != reason {
                log.error("certificate refused", ["pod": record.pod.fullName, "error": reason])
            }
            identity.credentials.failed(reason, now: WallClock.now.seconds, jitter: chance)
            report(record)
            attendIdentities()
        }
    }

    private func awaited(_ number: Int) -> (PodRecord, PodIdentity)? {
        guard let uid = requests.removeValue(forKey: number), let record = records[uid],
            let identity = record.identity, identity.request == number
        else { return nil }
        identity.request = nil
        return (record, identity)
    }

    private func take(_ notice: TrustNotice) {
        do throws(TLSError) {
            let bundle = try TrustBundle(pem: notice.roots)
            trust = (bundle, notice.reissue)
            for record in records.values {
                guard let identity = record.identity else { continue }
                if identity.credentials.trust(bundle, reissue: notice.reissue) {
                    do throws(SystemError) { try identity.keep() } catch {
                        log.error("identity not kept", ["pod": record.pod.fullName, "error": error.description])
                    }
                    identity.publish()
                }
                report(record)
            }
            log.info("roots of the mesh", ["version": bundle.version, "count": "\(bundle.roots.count)"])
        } catch { log.error("the roots of the mesh cannot be read", ["error": "\(error)"]) }
        attendIdentities()
    }

    /// Tells the control plane how a pod's certificate stands, when that is new.
    func report(_ record: PodRecord) {
        guard let identity = record.identity, channel != nil else { return }
        let credentials = identity.credentials
        var report = IdentityReport(uid: record.pod.uid, namespace: record.pod.namespace, name: record.pod.name)
        if let leaf = credentials.chain.first {
            report.identity = credentials.identity
            report.notBefore = leaf.notBefore
            report.notAfter = leaf.notAfter
            report.renewal = credentials.renewal
            report.root = credentials.root
        }
        report.bundle = identity.takenBundle
        report.problem = credentials.problem
        guard report != identity.reported else { return }
        identity.reported = report
        tell(IdentityRequest.report(report).json, descriptor: nil)
    }
}

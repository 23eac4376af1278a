internal import Etcd
internal import HTTP
internal import IO
public import Telemetry

/// What servers tell each other beside the objects.
public enum ReportTopic: String, Sendable, CaseIterable {
    /// Their proxies: who is connected, and what it has acknowledged.
    case proxies = "servers"
    /// Their counts against the limits of the whole mesh.
    case limits
    /// Who has not taken the roots of the mesh's authority.
    case roots
    /// The nodes whose agents are connected with them, and where they can be asked for those.
    case nodes
}

/// What each of several servers says on one topic, under a lease of its own: who has died says nothing any more.
///
/// It lies beside the objects (`EtcdLayout`) and moves no clock: saying something is no write. Loop-owned.
public final class EtcdReports {
    /// How long the words of a server that is silent stand.
    static let leaseSeconds: Int64 = 8
    /// How often the words of all are read anew, besides what the watch brings, and the lease is renewed.
    static let interval = Duration.seconds(2)
    /// How often it is asked whether there is something else to say.
    public static let pause = Duration.milliseconds(500)
    /// Bytes of one report at most; a longer one is not written.
    public static let bytesMax = 256 * 1024
    /// Servers whose reports are kept.
    static let serversMax = 64

    private let client: EtcdClient
    private let layout: EtcdLayout
    private let topic: ReportTopic
    private let name: String
    private let make: () -> [UInt8]
    private let changed: ([String: [UInt8]]) -> Void
    private let log = Logger("store")
    private var lease: Int64 = 0
    private var written: [UInt8]?
    private var nextRound: MonotonicTime
    private var timer: LoopTimer?
    private var isBusy = false
    private var isStopped = false
    /// What the other living servers say, by their names.
    private(set) var others: [String: [UInt8]] = [:]
    /// Reports that were too long, or of too many servers.
    public let dropped = Counter()

    init(
        _ client: EtcdClient, _ layout: EtcdLayout, _ topic: ReportTopic, name: String,
        make: @escaping () -> [UInt8], changed: @escaping ([String: [UInt8]]) -> Void
    ) {
        self.client = client
        self.layout = layout
        self.topic = topic
        self.name = name
        self.make = make
        self.changed = changed
        nextRound = client.loop.now
    }

    func start() {
        act()
        timer = client.loop.schedule(after: Self.pause) { [weak self] in
            guard let self, !self.isStopped else { return }
            self.start()
        }
    }

    /// Another server has said something, or died.
    func heard(_ server: String, _ report: [UInt8]?) {
        guard server != name, others[server] != report else { return }
        guard report == nil || others[server] != nil || others.count < Self.serversMax else { return dropped.add() }
        others[server] = report
        changed(others)
    }

    /// `@unchecked Sendable`: touched on the loop only.
    private final class Link: @unchecked Sendable {
        private(set) weak var reports: EtcdReports?
        init(_ reports: EtcdReports) { self.reports = reports }
    }

    private func act() {
        guard !isBusy, !isStopped else { return }
        let report = make()
        let isTooLong = report.count > Self.bytesMax
        if isTooLong { dropped.add() }
        let isNew = report != written && !isTooLong
        let isRound = client.loop.now >= nextRound
        guard isNew || isRound else { return }
        isBusy = true
        let link = Link(self)
        Task(executorPreference: client.loop) {
            guard let reports = link.reports else { return }
            do throws(GRPCStatus) {
                if isRound { try await reports.round() }
                if reports.written == nil || isNew { try await reports.write(report) }
            } catch {
                reports.log.debug(
                    "other servers do not hear of this one", ["of": reports.topic.rawValue, "reason": "\(error)"])
            }
            reports.isBusy = false
        }
    }

    /// Renews the lease, and reads what all say.
    private func round() async throws(GRPCStatus) {
        nextRound = client.loop.now + Self.interval
        var isKept = lease != 0
        if isKept { isKept = try await client.keepLease(lease) }
        if !isKept {
            written = nil
            lease = try await client.grantLease(seconds: Self.leaseSeconds)
        }
        var request = EtcdTxnRequest()
        let place = layout.reports(topic)
        request.success = [layout.range(place, end: EtcdLayout.end(of: place))]
        let answer = try await client.call(.txn, request)
        var present: [String: [UInt8]] = [:]
        for pair in answer.pairs {
            if let server = layout.server(pair.key, topic) { present[server] = pair.value }
        }
        for server in others.keys where present[server] == nil { heard(server, nil) }
        for (server, report) in present { heard(server, report) }
    }

    private func write(_ report: [UInt8]) async throws(GRPCStatus) {
        guard lease != 0, !isStopped, report.count <= Self.bytesMax else { return }
        var request = EtcdTxnRequest()
        request.success = [layout.put(layout.reports(topic) + Array(name.utf8), report, lease: lease)]
        _ = try await client.call(.txn, request)
        written = report
    }

    /// Says nothing more, without telling etcd.
    func abandon() {
        isStopped = true
        timer?.cancel()
    }

    /// Takes its words back.
    func stop() async {
        abandon()
        // The lease ends by itself when this does not arrive.
        if lease != 0 { try? await client.revokeLease(lease) }
    }
}

extension EtcdStore {
    /// Tells the other servers of this one, and hears of them.
    ///
    /// Once for each topic: `make` says what there is to tell, `changed` takes what the other living servers say, by their names,
    /// whenever that is something else.
    public func report(
        _ topic: ReportTopic, _ make: @escaping () -> [UInt8], changed: @escaping ([String: [UInt8]]) -> Void
    ) {
        guard reports[topic] == nil else { return }
        let made = EtcdReports(client, layout, topic, name: writer, make: make, changed: changed)
        reports[topic] = made
        made.start()
    }

    /// The reports that a key belongs to, and whose it is.
    func report(at key: [UInt8]) -> (EtcdReports, server: String)? {
        for (topic, reports) in reports {
            if let server = layout.server(key, topic) { return (reports, server) }
        }
        return nil
    }
}

import APIServer
import KubernetesAPI
import Serialization

/// How one kind of a Kubernetes API is followed: what to ask next, and what an answer means.
///
/// Pure: answers come in, changes come out; who performs it sleeps and sends. List in pages, then watch from the list's
/// revision; go on from the last seen one when a watch ends; list anew when the server has forgotten it (410).
struct ReflectorPlan {
    /// What to do next.
    enum Step: Equatable {
        /// GET this and report `page` or `failed`.
        case list(path: String)
        /// Watch this; report `event`s and `ended`.
        case watch(path: String)
        /// Wait as long, give or take a part.
        case wait(Duration)
    }

    /// Objects of one page.
    static let pageSize = 500
    /// Seconds after which a server is to end a watch: one that is silently dead is noticed by then.
    static let watchSeconds = 290
    /// How long until a kind that the server does not know is asked for again.
    static let absentPause = Duration.seconds(2)
    private static let pauseFirst = Duration.milliseconds(100)
    private static let pauseMax = Duration.seconds(10)
    /// How many objects of one kind are followed.
    static let objectsMax = 200_000

    let kind: ResourceKind
    /// Whether the present state has been told once.
    private(set) var isSynced = false
    /// Whether the server does not know the kind.
    private(set) var isAbsent = false
    /// The last failure, until something works again.
    private(set) var problem: String?
    /// How often everything was listed.
    private(set) var listCount = 0
    private var version = 0
    private var resourceVersion: String?
    private var continuation: String?
    private var page: [KubernetesObject] = []
    private var pause: Duration?
    private var failures = 0
    private var hadEvents = false
    private var changes: [FeedChange] = []

    init(_ kind: ResourceKind) { self.kind = kind }

    /// The version under which the server has the kind, as far as is known.
    var servedVersion: String {
        kind.versions.indices.contains(version) ? kind.versions[version] : kind.preferredVersion
    }

    private var base: String {
        (kind.group.isEmpty ? "/api/" : "/apis/") + kind.apiVersion(servedVersion) + "/" + kind.plural
    }

    /// What to do next.
    mutating func next() -> Step {
        if let pause {
            self.pause = nil
            return .wait(pause)
        }
        guard let resourceVersion else {
            var path = base + "?limit=\(Self.pageSize)"
            if let continuation { path += "&continue=" + Self.escaped(continuation) }
            return .list(path: path)
        }
        hadEvents = false
        return .watch(
            path: base
                + "?watch=true&allowWatchBookmarks=true&timeoutSeconds=\(Self.watchSeconds)&resourceVersion="
                + Self.escaped(resourceVersion))
    }

    /// What has changed since the last call.
    mutating func takeChanges() -> [FeedChange] {
        defer { changes = [] }
        return changes
    }

    /// A page of the list has come.
    mutating func page(_ json: JSON) {
        page += (json["items"]?.array ?? []).map(complete)
        if let more = json["metadata"]?["continue"]?.string, !more.isEmpty, page.count < Self.objectsMax {
            continuation = more
            return
        }
        if page.count >= Self.objectsMax {
            // Half of the truth would take the other half for deleted.
            fail("there are more than \(Self.objectsMax) \(kind.plural)")
            restart()
            return
        }
        guard let version = json["metadata"]?["resourceVersion"]?.string, !version.isEmpty else {
            fail("the list has no resourceVersion")
            restart()
            return
        }
        changes.append(.replaced(page))
        restart()
        resourceVersion = version
        listCount += 1
        works()
        isSynced = true
        isAbsent = false
    }

    /// A request or watch has failed with that status; 0 without an answer.
    mutating func failed(_ status: Int, _ message: String) {
        let wasWatching = resourceVersion != nil
        switch status {
        case 404:
            restart()
            resourceVersion = nil
            // A watch may end so when a CRD goes; the list then says whether another version is there.
            if wasWatching { return }
            version += 1
            guard !kind.versions.indices.contains(version) else { return }
            version = 0
            if !isAbsent { changes.append(.replaced([])) }
            isAbsent = true
            isSynced = true
            works()
            pause = Self.absentPause
        case 410:
            // Forgotten: the continuation of a list as well as the place of a watch.
            restart()
            resourceVersion = nil
            if !wasWatching { fail(message) }
        case 504 where message.contains("Too large resource version"):
            // The server's history is another one: it was restored.
            restart()
            resourceVersion = nil
            fail(message)
        case 0 where wasWatching && failures == 0:
            // Networks cut watches: that is no news unless the next one fails, too.
            failures = 1
            pause = Self.pauseFirst
        default:
            fail(status == 0 ? message : "\(status): \(message)")
            if !wasWatching { restart() }
        }
    }

    /// An event of the watch; false when the watch must not go on.
    mutating func event(_ json: JSON) -> Bool {
        let object = json["object"] ?? .null
        let type = json["type"]?.string ?? ""
        if type == "ERROR" {
            let code = object["code"]?.int ?? 0
            failed(code == 404 ? 500 : code, object["message"]?.string ?? "the watch failed")
            return false
        }
        guard let newer = object["metadata"]?["resourceVersion"]?.string, !newer.isEmpty else { return true }
        hadEvents = true
        works()
        switch type {
        case "ADDED", "MODIFIED": changes.append(.set(complete(object)))
        case "DELETED": changes.append(.deleted(complete(object)))
        case "BOOKMARK": break
        default: return true  // A newer server's word: its place is not taken for seen.
        }
        resourceVersion = newer
        return true
    }

    /// The watch has ended without an error: it goes on where it was.
    mutating func ended() {
        pause = hadEvents ? .milliseconds(20) : .milliseconds(200)
    }

    private mutating func works() {
        failures = 0
        problem = nil
    }

    private mutating func fail(_ message: String) {
        problem = message
        pause = min(Self.pauseFirst * (1 << min(failures, 10)), Self.pauseMax)
        failures += 1
    }

    private mutating func restart() {
        continuation = nil
        page = []
    }

    /// Items of lists do not say their kind; all versions are aliases of one object.
    private func complete(_ json: JSON) -> KubernetesObject {
        var json = json
        json["kind"] = .string(kind.kind)
        json["apiVersion"] = .string(kind.apiVersion)
        // Who wrote which field is long and concerns nobody here.
        if json["metadata"]?["managedFields"] != nil { json["metadata"]?["managedFields"] = nil }
        return KubernetesObject(json: json)
    }

    private static func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e: String(UnicodeScalar(byte))
            default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }.joined()
    }
}

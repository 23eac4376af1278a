package import KubernetesAPI
package import Serialization

/// A pod of `skein run` as `ps` shows it.
///
/// Pure.
package struct ContainerView: Sendable, Hashable {
    /// What happens to it.
    package enum State: Sendable, Hashable {
        /// It has not been started yet; why, if somebody has said.
        case created(String?)
        /// It runs since then.
        case running(since: Timestamp?)
        /// It has ended.
        case exited(code: Int, at: Timestamp?)
    }

    /// The name.
    package var name: String
    /// 32 hexadecimal digits.
    package var id: String
    /// The image.
    package var image: String
    /// The words that it was started with.
    package var command: [String]
    /// When it was made.
    package var created: Timestamp?
    /// What happens to it.
    package var state: State

    /// What its pod says.
    package init(_ pod: KubernetesObject) {
        name = pod.name
        id = pod.metadata.uid.filter { $0 != "-" }
        let container = pod.spec["containers"]?[0]
        image = container?["image"]?.string ?? ""
        command = ["command", "args"].flatMap { (container?[$0]?.array ?? []).compactMap(\.string) }
        created = pod.json["metadata"]?["creationTimestamp"]?.string.flatMap { Timestamp($0) }
        let statuses = pod.status["containerStatuses"]?.array ?? []
        let status = statuses.first { $0["name"]?.string == RunWish.containerName }?["state"]
        if let running = status?["running"] {
            state = .running(since: running["startedAt"]?.string.flatMap { Timestamp($0) })
        } else if let ended = status?["terminated"] {
            state = .exited(
                code: ended["exitCode"]?.int ?? 0, at: ended["finishedAt"]?.string.flatMap { Timestamp($0) })
        } else {
            state = .created(status?["waiting"]?["reason"]?.string)
        }
    }

    /// Whether `rm` needs `-f`.
    package var isRunning: Bool { if case .running = state { true } else { false } }

    /// `Up 5 minutes`, `Exited (0) 3 hours ago`, `Created`.
    package func status(now: Timestamp) -> String {
        switch state {
        case .created(let reason): return reason.map { "Created (\($0))" } ?? "Created"
        case .running(let since): return "Up \(Self.age(since, now))"
        case .exited(let code, let at): return "Exited (\(code)) \(Self.age(at, now)) ago"
        }
    }

    /// A length of time in Docker's words.
    package static func age(_ since: Timestamp?, _ now: Timestamp) -> String {
        guard let since else { return "some time" }
        let seconds = max(0, Int(now.seconds - since.seconds))
        switch seconds {
        case 0: return "Less than a second"
        case 1: return "1 second"
        case ..<60: return "\(seconds) seconds"
        case ..<120: return "About a minute"
        case ..<3600: return "\(seconds / 60) minutes"
        case ..<7200: return "About an hour"
        case ..<172_800: return "\(seconds / 3600) hours"
        case ..<1_209_600: return "\(seconds / 86_400) days"
        case ..<5_184_000: return "\(seconds / 604_800) weeks"
        default: return "\(seconds / 2_592_000) months"
        }
    }

    /// Published ports in Docker's words: `0.0.0.0:8080->80/tcp`.
    package static func ports(_ published: JSON?) -> String {
        (published?.array ?? []).map { port in
            let address = port["address"]?.string ?? "0.0.0.0"
            let word = [6: "tcp", 17: "udp", 132: "sctp"][port["transport"]?.int ?? 0] ?? ""
            let host = address.contains(":") ? "[\(address)]" : address
            return "\(host):\(port["host"]?.int ?? 0)->\(port["container"]?.int ?? 0)/\(word)"
        }.joined(separator: ", ")
    }
}

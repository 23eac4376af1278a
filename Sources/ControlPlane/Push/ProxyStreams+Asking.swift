import HTTP
import IO
import Identity
import KubernetesAPI
import Mesh
import XDS

extension ProxyStreams {
    // MARK: Whoever is about to write asks

    /// What the mesh has to say about an object that is about to be written.
    func warnings(for object: KubernetesObject) -> [String] { publisher.warnings(for: object) }
    /// What a new pod's proxy is started with, where the mesh says something.
    func podAnnotations(_ pod: KubernetesObject) -> [String: String] {
        let key = ProxyConfigValues.annotation
        let values = publisher.model.proxyConfig(
            namespace: pod.namespace, labels: pod.metadata.labels, annotation: pod.metadata.annotations[key])
        return values.annotation.map { [key: $0] } ?? [:]
    }
    /// What makes the mesh refuse an object that is about to be written.
    func problems(of object: KubernetesObject) -> [FieldProblem] { publisher.problems(of: object) }

    // MARK: Proxies ask

    /// Who may be on a stream.
    enum Subscriber: Sendable, CustomStringConvertible {
        /// The pod whose socket it is.
        case pod(NamespacedName, uid: String)
        /// Any pod of that service account: it has shown a certificate.
        case serviceAccount(NamespacedName)
        /// Whom the token names: a pod, or any of the service account.
        case token(ServiceAccountToken)

        /// Who it is, for the log.
        var description: String {
            switch self {
            case .pod(let pod, _): "pod \(pod)"
            case .serviceAccount(let account): "service account \(account)"
            case .token(let token): "token of service account \(token.namespace)/\(token.serviceAccount)"
            }
        }
    }

    /// A request, away from the frame of the function that waits for the next one as long as the stream lives.
    final class Asked {
        let request: SnapshotPublisher.Request
        let bytes: Int

        init(_ request: SnapshotPublisher.Request, _ bytes: Int) {
            self.request = request
            self.bytes = bytes
        }
    }

    /// Who asks on a stream, and how often.
    final class Asking {
        let number: Int
        let form: ResponseMaker.Form
        let isForSecrets: Bool
        let who: Subscriber
        let proxy: ProxyIdentity
        let uid: String
        /// The id of its node, of a workload that registers itself.
        let own: String?
        var bucket: TokenBucket

        init(
            number: Int, form: ResponseMaker.Form, isForSecrets: Bool, who: Subscriber, proxy: ProxyIdentity,
            uid: String, own: String?, bucket: TokenBucket
        ) {
            self.number = number
            self.form = form
            self.isForSecrets = isForSecrets
            self.who = who
            self.proxy = proxy
            self.uid = uid
            self.own = own
            self.bucket = bucket
        }
    }
}

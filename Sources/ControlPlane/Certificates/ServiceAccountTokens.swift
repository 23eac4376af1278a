import APIServer
import IO
import Identity
import KubernetesAPI
import Serialization
import TLS

/// The service-account tokens of this Skein: makes those that the API grants, and says whether one is good.
///
/// The key is in the control plane's directory (mode 0600); tokens are kept nowhere.
struct ServiceAccountTokens {
    /// Where the key is, as with Kubernetes' `--service-account-signing-key-file`.
    static let fileName = "sa.key"

    private let issuer: TokenIssuer

    /// Reads the key, or makes it at the first start.
    init(directory: String) throws(ControlPlaneError) {
        let file = "\(directory)/\(Self.fileName)"
        do {
            if File.exists(file) {
                issuer = try TokenIssuer(key: PrivateKey(pem: try File.read(file)))
            } else {
                let key = try PrivateKey.makeP256()
                issuer = try TokenIssuer(key: key)
                try File.write(file, key.pem, mode: 0o600)
            }
        } catch {
            throw ControlPlaneError("the key of service-account tokens in \(file): \(error)")
        }
    }

    /// Makes a token.
    func issue(_ wish: TokenWish, now: Timestamp) throws(StatusError) -> IssuedToken {
        let wanted = wish.seconds ?? TokenIssuer.lifetimeDefault
        let lifetime = min(wanted, TokenIssuer.lifetimeMax)
        var subject = TokenIssuer.Subject(
            namespace: wish.namespace, serviceAccount: wish.account, serviceAccountUID: wish.accountUID)
        if let name = wish.podName { subject.pod = (name, wish.podUID) }
        let audiences = wish.audiences.isEmpty ? [TokenIssuer.name] : wish.audiences
        var random = SystemRandomNumberGenerator()
        let id = String(random.next(), radix: 16) + String(random.next(), radix: 16)
        do throws(IdentityError) {
            return IssuedToken(
                text: try issuer.token(
                    for: subject, audiences: audiences, id: id, now: now.seconds, lifetime: lifetime),
                audiences: audiences, expires: Timestamp(seconds: now.seconds + lifetime),
                warnings: wanted > lifetime
                    ? ["requested expiration of \(wanted) seconds shortened to \(lifetime) seconds"] : [])
        } catch {
            throw .internalError(error.description)
        }
    }

    /// Reads a token that somebody shows us.
    ///
    /// - Parameters:
    ///   - pod: a pod by uid, namespace and name, as the API has it now.
    ///   - account: the uid of a service account.
    func verify(
        _ text: String, audience: String = ServiceAccountToken.audience, now: Int64,
        pod: (_ uid: String, _ namespace: String, _ name: String) -> BoundPod?,
        account: (_ namespace: String, _ name: String) -> String?
    ) throws(IdentityError) -> ServiceAccountToken {
        try ServiceAccountToken(
            text, keys: [issuer.verificationKey], issuer: TokenIssuer.name, audience: audience, now: now, pod: pod,
            account: account)
    }

    /// Who calls the API with a token that is for the API, or whose token this is if it is for one of `audiences`.
    func user(
        _ text: String, audiences: [String], registry: ObjectRegistry, now: Int64
    ) throws(StatusError) -> APIUser {
        var reason = ""
        for audience in audiences.isEmpty ? [TokenIssuer.name] : audiences {
            do throws(IdentityError) {
                let token = try verify(
                    text, audience: audience, now: now,
                    pod: { uid, namespace, name in pod(uid, namespace, name, registry) },
                    account: { namespace, name in
                        (try? registry.get(.serviceAccount, namespace, name))?.metadata.uid
                    })
                return .serviceAccount(token.namespace, token.serviceAccount)
            } catch {
                reason = error.message
            }
        }
        throw StatusError(code: 401, reason: "Unauthorized", message: audiences.isEmpty ? "Unauthorized" : reason)
    }

    private func pod(_ uid: String, _ namespace: String, _ name: String, _ registry: ObjectRegistry) -> BoundPod? {
        guard let object = try? registry.get(.pod, namespace, name), object.metadata.uid == uid else { return nil }
        let pod = Pod(json: object.content)
        return BoundPod(
            uid: uid, namespace: namespace, name: name,
            serviceAccount: pod.spec.json["serviceAccountName"]?.string ?? "",
            node: pod.spec.nodeName, hasEnded: ["Succeeded", "Failed"].contains(pod.status.phase))
    }
}

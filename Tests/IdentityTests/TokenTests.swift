import Identity
import Serialization
import TLS
import Testing

struct TokenTests {
    private let now: Int64 = 1_800_000_000
    private let pod = BoundPod(uid: "u1", namespace: "shop", name: "web", serviceAccount: "web", node: "n")

    /// `r || s` of the DER sequence that signing makes.
    private func raw(_ der: [UInt8]) -> [UInt8] {
        var rest = der.dropFirst(2)
        var result: [UInt8] = []
        for _ in 0..<2 {
            let count = Int(rest.dropFirst().first ?? 0)
            let number = Array(rest.dropFirst(2).prefix(count)).drop { $0 == 0 }
            result += [UInt8](repeating: 0, count: 32 - number.count) + number
            rest = rest.dropFirst(2 + count)
        }
        return result
    }

    private func token(_ key: PrivateKey, algorithm: String = "ES256", _ change: (inout JSON) -> Void = { _ in }) throws
        -> String
    {
        var claims: JSON = [
            "iss": "me", "aud": ["skein"], "exp": .integer(now + 600), "sub": "system:serviceaccount:shop:web",
            "jti": "t1",
            "kubernetes.io": [
                "namespace": "shop", "serviceaccount": ["name": "web", "uid": "a1"],
                "pod": ["name": "web", "uid": "u1"],
            ],
        ]
        change(&claims)
        let head: JSON = ["alg": .string(algorithm), "typ": "JWT"]
        let text = "\(Base64.encodeURL(head.bytes)).\(Base64.encodeURL(claims.bytes))"
        return "\(text).\(Base64.encodeURL(raw(try key.sign(Array(text.utf8)))))"
    }

    private func problem(
        _ text: String, _ key: PrivateKey, pods: [BoundPod]? = nil, accounts: [String: String] = ["shop/web": "a1"],
        at time: Int64? = nil
    ) -> String? {
        let der = key.publicKey.der
        // The last 64 bytes of a P-256 SubjectPublicKeyInfo are the coordinates.
        guard
            let verification = try? VerificationKey(
                curve: .p256, x: Array(der.suffix(64).prefix(32)), y: Array(der.suffix(32)))
        else { return "no key" }
        let known = pods ?? [pod]
        do {
            _ = try ServiceAccountToken(
                text, keys: [verification], issuer: "me", now: time ?? now,
                pod: { uid, _, _ in known.first { $0.uid == uid } },
                account: { namespace, name in accounts["\(namespace)/\(name)"] })
            return nil
        } catch { return error.message }
    }

    @Test("ATK-39 a token counts for the service account and pod that it is bound to, and only while they are there")
    func good() throws {
        let key = try PrivateKey.makeP256()
        let text = try token(key)
        #expect(problem(text, key) == nil)
        #expect(problem(text, key, pods: [])?.contains("pod is gone") == true)
        var ended = pod
        ended.hasEnded = true
        #expect(problem(text, key, pods: [ended])?.contains("pod is gone") == true)
        #expect(problem(text, key, at: now + 700)?.contains("expired") == true)
        #expect(problem(text, key, accounts: [:])?.contains("account is gone") == true)
        #expect(problem(text, key, accounts: ["shop/web": "a2"])?.contains("account is gone") == true, "made again")
    }

    @Test("ATK-39 a token that is stolen for another use, changed, or signed by another is refused")
    func bad() throws {
        let key = try PrivateKey.makeP256()
        let other = try PrivateKey.makeP256()
        #expect(problem(try token(other), key)?.contains("nobody who issues") == true)
        #expect(problem(try token(key, algorithm: "none"), key) != nil)
        #expect(problem(try token(key, algorithm: "HS256"), key) != nil)
        #expect(
            problem(try token(key) { $0["aud"] = ["https://kubernetes.default.svc"] }, key)?.contains("not for") == true
        )
        #expect(problem(try token(key) { $0["iss"] = "you" }, key)?.contains("issuer") == true)
        #expect(problem(try token(key) { $0["nbf"] = .integer(now + 100) }, key)?.contains("not valid yet") == true)
        #expect(
            problem(try token(key) { $0["sub"] = "system:serviceaccount:shop:admin" }, key)?.contains("bound") == true)
        #expect(problem(try token(key) { $0["kubernetes.io"] = ["namespace": "shop"] }, key)?.contains("bound") == true)
        let text = try token(key)
        let parts = text.split(separator: ".").map(String.init)
        #expect(problem("\(parts[0]).\(parts[1])A.\(parts[2])", key) != nil)
        #expect(problem("\(parts[0]).\(parts[1])", key) != nil)
        #expect(problem(text + "=", key) != nil)
        #expect(problem(String(repeating: "a", count: ServiceAccountToken.bytesMax + 1), key) != nil)
        #expect(problem("", key) != nil)
    }

    @Test("A token that we make is one that we take, and dies with what it is bound to")
    func issued() throws {
        let issuer = try TokenIssuer(key: PrivateKey.makeP256())
        func problem(_ text: String, pods: [BoundPod], accounts: [String: String] = ["web": "a1"], at time: Int64)
            -> String?
        {
            do {
                let token = try ServiceAccountToken(
                    text, keys: [issuer.verificationKey], issuer: TokenIssuer.name, now: time,
                    pod: { uid, _, _ in pods.first { $0.uid == uid } }, account: { _, name in accounts[name] })
                #expect(token.serviceAccount == "web" && token.namespace == "shop" && token.expires == now + 600)
                return nil
            } catch { return error.message }
        }
        var subject = TokenIssuer.Subject(namespace: "shop", serviceAccount: "web", serviceAccountUID: "a1")
        // Many, since the length of a signature's numbers is a matter of chance.
        for number in 0..<64 {
            let text = try issuer.token(
                for: subject, audiences: ["skein"], id: "\(number)", now: now, lifetime: 600)
            #expect(problem(text, pods: [], at: now) == nil)
        }
        subject.pod = ("web-1", "u1")
        let text = try issuer.token(for: subject, audiences: ["other", "skein"], id: "t", now: now, lifetime: 600)
        #expect(problem(text, pods: [pod], at: now) == nil)
        #expect(problem(text, pods: [], at: now)?.contains("pod is gone") == true)
        #expect(problem(text, pods: [pod], accounts: [:], at: now)?.contains("account is gone") == true)
        #expect(problem(text, pods: [pod], at: now + 631)?.contains("expired") == true)
        let other = try issuer.token(for: subject, audiences: ["api"], id: "t", now: now, lifetime: 600)
        #expect(problem(other, pods: [pod], at: now)?.contains("not for skein") == true)
    }

    @Test("ATK-39 a token that was used for one key certifies no other")
    func replay() throws {
        let key = try PrivateKey.makeP256()
        let der = key.publicKey.der
        let verification = try VerificationKey(
            curve: .p256, x: Array(der.suffix(64).prefix(32)), y: Array(der.suffix(32)))
        let token = try ServiceAccountToken(
            token(key), keys: [verification], issuer: "me", now: now, pod: { _, _, _ in pod },
            account: { _, _ in "a1" })
        var uses = TokenUses()
        let (first, second) = (try PrivateKey.makeP256().publicKey, try PrivateKey.makeP256().publicKey)
        let line = try #require(try uses.use(token, for: first, now: now))
        #expect(try uses.use(token, for: first, now: now + 1) == nil, "noted before")
        #expect(throws: IdentityError.self) { _ = try uses.use(token, for: second, now: now + 2) }
        // Written down it counts in the next life too, until the token has ended.
        var next = TokenUses(lines: ["", "broken", line, "1 2 old"], now: now + 3)
        #expect(next.lines == [line])
        #expect(throws: IdentityError.self) { _ = try next.use(token, for: second, now: now + 4) }
        #expect(TokenUses(lines: [line], now: now + 10_000).lines.isEmpty)
    }
}

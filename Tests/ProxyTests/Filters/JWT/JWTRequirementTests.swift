import EnvoyAPI
import HTTP
import IO
import Serialization
import Testing

@testable import Proxy

@Suite("JWT: requirements")
struct JWTRequirementTests {
    private static let second = TestToken.make(#"{"iss":"https://second.test"}"#)
    private static let spoiled = TestToken.good.dropLast(4) + "AAAA"

    private struct Fixture {
        let names: JWTRequirement.Names
        let issuers: [String: JWTProvider]

        init(_ change: (inout JwtProvider) -> Void = { _ in }) throws {
            var first = JwtProvider()
            first.issuer = "https://issuer.test"
            var source = DataSource()
            source.specifier = .inlineString(JWTSamples.keySet)
            first.jwksSourceSpecifier = .localJwks(source)
            var second = first
            second.issuer = "https://second.test"
            var header = JwtHeader()
            header.name = "x-second"
            second.fromHeaders = [header]
            change(&first)
            let context = CompileContext(secrets: SecretStore())
            let counters = JWTCounters(context.metrics.scope("test"))
            let messages = ["p": first, "q": second]
            var providers: [String: JWTProvider] = [:]
            for (name, message) in messages {
                providers[name] = try JWTProvider(
                    compiling: message, name: name, at: name, context, counters: counters)
            }
            names = JWTRequirement.Names(providers: providers, messages: messages)
            issuers = Dictionary(uniqueKeysWithValues: providers.values.map { ($0.issuer, $0) })
        }

        func requirement(_ message: JwtRequirement) throws -> JWTRequirement {
            try JWTRequirement(compiling: message, at: "", names)
        }

        func ask(
            _ requirement: JWTRequirement, _ fields: [(String, String)], path: String = "/", now: Int64 = 1_000_000,
            keys: JWTKeys? = nil
        ) throws -> (JWTRequirement.Verdict, JWTRequest) {
            var headers = HeaderTable()
            for (name, value) in fields { try headers.append(name, value) }
            var request = JWTRequest(headers: headers, path: Array(path.utf8))
            let scene = JWTRequirement.Scene(
                issuers: issuers,
                keys: { provider in
                    if let keys { return keys }
                    if case .local(let set) = provider.keys { return .ready(set) }
                    return .failed
                }, now: (now, 0), row: 0, cacheAsked: { _ in })
            return (requirement.evaluate(&request, scene), request)
        }
    }

    private static func named(_ name: String) -> JwtRequirement {
        var requirement = JwtRequirement()
        requirement.requiresType = .providerName(name)
        return requirement
    }

    private static func any(_ requirements: [JwtRequirement]) -> JwtRequirement {
        var list = JwtRequirementOrList()
        list.requirements = requirements
        var requirement = JwtRequirement()
        requirement.requiresType = .requiresAny(list)
        return requirement
    }

    private static func all(_ requirements: [JwtRequirement]) -> JwtRequirement {
        var list = JwtRequirementAndList()
        list.requirements = requirements
        var requirement = JwtRequirement()
        requirement.requiresType = .requiresAll(list)
        return requirement
    }

    private static let missing: JwtRequirement = {
        var requirement = JwtRequirement()
        requirement.requiresType = .allowMissing(Empty())
        return requirement
    }()

    private static let failing: JwtRequirement = {
        var requirement = JwtRequirement()
        requirement.requiresType = .allowMissingOrFailed(Empty())
        return requirement
    }()

    private func word(_ verdict: JWTRequirement.Verdict) -> String {
        switch verdict {
        case .passed: "passed"
        case .failed(let status): status.text
        case .waits(let provider): "waits for \(provider.name)"
        }
    }

    @Test("any, all, missing and failed combine as Envoy's")
    func combinations() throws {
        let fixture = try Fixture()
        let good = ("authorization", "Bearer \(TestToken.good)")
        let bad = ("authorization", "Bearer \(Self.spoiled)")
        let other = ("x-second", Self.second)
        let fails = "Jwt verification fails"
        let none = "Jwt is missing"
        let both = [Self.named("p"), Self.named("q")]
        let cases: [(JwtRequirement, [(String, String)], String)] = [
            (Self.named("p"), [good], "passed"), (Self.named("p"), [], none), (Self.named("p"), [bad], fails),
            (Self.any(both), [good], "passed"), (Self.any(both), [other], "passed"), (Self.any(both), [], none),
            (Self.any(both), [bad], fails), (Self.all(both), [good, other], "passed"), (Self.all(both), [good], none),
            (Self.any([Self.named("p"), Self.missing]), [], "passed"),
            (Self.any([Self.named("p"), Self.missing]), [bad], fails),
            (Self.any([Self.named("p"), Self.failing]), [bad], "passed"),
            (Self.missing, [], "passed"), (Self.missing, [bad], fails), (Self.failing, [bad], "passed"),
        ]
        for (message, fields, expected) in cases {
            let (verdict, _) = try fixture.ask(try fixture.requirement(message), fields)
            #expect(word(verdict) == expected, "\(message)")
        }
    }

    @Test("two tokens at the places of one provider: both must be good")
    func severalTokens() throws {
        let fixture = try Fixture()
        let requirement = try fixture.requirement(Self.named("p"))
        let fields = [("authorization", "Bearer \(TestToken.good)")]
        let (verdict, _) = try fixture.ask(requirement, fields, path: "/?access_token=\(Self.spoiled)")
        #expect(word(verdict) == "Jwt verification fails")
        let (flood, _) = try fixture.ask(
            try fixture.requirement(Self.named("q")), Array(repeating: ("x-second", Self.second), count: 17))
        #expect(word(flood) == "Jwt verification fails")
    }

    @Test("the token leaves the request where it is not forwarded: from the header and from the query")
    func removal() throws {
        let fixture = try Fixture()
        let requirement = try fixture.requirement(Self.named("p"))
        let (_, header) = try fixture.ask(requirement, [("authorization", "Bearer \(TestToken.good)"), ("x", "y")])
        #expect(!header.headers.contains(.authorization) && header.headers.count == 1)
        let (verdict, query) = try fixture.ask(requirement, [], path: "/p?a=1&access_token=\(TestToken.good)&b=%41")
        #expect(word(verdict) == "passed")
        #expect(String(decoding: query.path, as: UTF8.self) == "/p?a=1&b=%41")
        let (_, alone) = try fixture.ask(requirement, [], path: "/p?access_token=\(TestToken.good)")
        #expect(String(decoding: alone.path, as: UTF8.self) == "/p")
    }

    @Test("what the client sends in place of claims is taken away, also where a bad token is allowed")
    func spoofed() throws {
        let fixture = try Fixture { provider in
            var claim = JwtClaimToHeader()
            claim.headerName = "x-sub"
            claim.claimName = "sub"
            provider.claimToHeaders = [claim]
            provider.forwardPayloadHeader = "x-payload"
        }
        let spoof = [("x-sub", "root"), ("X-Payload", "root")]
        let (_, bare) = try fixture.ask(try fixture.requirement(Self.failing), spoof)
        #expect(bare.headers.isEmpty)
        let (_, good) = try fixture.ask(
            try fixture.requirement(Self.named("p")), spoof + [("authorization", "Bearer \(TestToken.good)")])
        #expect(good.headers["x-sub"] == "jason")
        #expect(good.headers["x-payload"] == TestToken.good.split(separator: ".").dropFirst().first.map(String.init))
    }

    @Test("keys that are still to come make the request wait, unless something else lets it pass")
    func waits() throws {
        let fixture = try Fixture()
        let good = [("authorization", "Bearer \(TestToken.good)")]
        let (waiting, untouched) = try fixture.ask(
            try fixture.requirement(Self.named("p")), good, keys: .awaited)
        #expect(word(waiting) == "waits for p")
        #expect(untouched.headers.contains(.authorization))
        let (failed, _) = try fixture.ask(try fixture.requirement(Self.named("p")), good, keys: .failed)
        #expect(word(failed) == "Jwks remote fetch is failed")
        // An expired token needs no keys to be refused.
        let (late, _) = try fixture.ask(
            try fixture.requirement(Self.named("p")), good, now: 4_102_444_861, keys: .awaited)
        #expect(word(late) == "Jwt is expired")
    }

    @Test("lifetime, subject and audience")
    func claims() throws {
        let good = [("authorization", "Bearer \(TestToken.good)")]
        let lifetime = try Fixture { $0.maxLifetime = .seconds(3600) }
        let requirement = try lifetime.requirement(Self.named("p"))
        #expect(word(try lifetime.ask(requirement, good).0) == "Jwt verification fails")
        #expect(word(try lifetime.ask(requirement, good, now: 4_102_444_000).0) == "passed")
        let audience = try Fixture { $0.audiences = ["https://films/"] }
        #expect(
            word(try audience.ask(try audience.requirement(Self.named("p")), good).0)
                == "Audiences in Jwt are not allowed")
        var both = ProviderWithAudiences()
        both.providerName = "p"
        both.audiences = ["https://books"]
        var message = JwtRequirement()
        message.requiresType = .providerAndAudiences(both)
        #expect(word(try audience.ask(try audience.requirement(message), good).0) == "passed")
    }
}

import APIServer
import Serialization
import Testing

@Suite("Tokens of service accounts")
struct TokenRequestTests {
    private let path = "/api/v1/namespaces/default/serviceaccounts/web/token"

    /// An API whose tokens say what they were asked for.
    private func fixture() throws -> Fixture {
        let fixture = try Fixture()
        fixture.router.tokens = { wish in
            IssuedToken(
                text: "\(wish.account)/\(wish.podName ?? "-")/\(wish.podUID.isEmpty ? "-" : "uid")",
                audiences: wish.audiences.isEmpty ? ["api"] : wish.audiences,
                expires: Timestamp(seconds: 1_800_000_000 + (wish.seconds ?? 3600)))
        }
        for name in ["web", "other"] {
            try fixture.ask(
                "POST", "/api/v1/namespaces/default/serviceaccounts", ["metadata": ["name": .string(name)]])
            try fixture.ask(
                "POST", "/api/v1/namespaces/default/pods",
                [
                    "metadata": ["name": .string(name)],
                    "spec": ["serviceAccountName": .string(name), "containers": [["name": "c", "image": "i"]]],
                ])
        }
        return fixture
    }

    @Test("A TokenRequest is answered with a token and its end")
    func granted() throws {
        let fixture = try fixture()
        let plain = try fixture.ask("POST", path, ["spec": [:]])
        #expect(plain.status == 201 && plain.json["kind"] == "TokenRequest")
        #expect(plain.json["status"]?["token"] == "web/-/-" && plain.json["spec"]?["audiences"] == ["api"])
        #expect(plain.json["status"]?["expirationTimestamp"] == "2027-01-15T09:00:00Z")
        let bound = try fixture.ask(
            "POST", path,
            [
                "spec": [
                    "audiences": ["skein"], "expirationSeconds": 600,
                    "boundObjectRef": ["kind": "Pod", "apiVersion": "v1", "name": "web"],
                ]
            ])
        #expect(bound.json["status"]?["token"] == "web/web/uid" && bound.json["spec"]?["expirationSeconds"] == 600)
    }

    @Test("ATK-39 a token is not bound to what is not there, is another's, or was made again")
    func refused() throws {
        let fixture = try fixture()
        func status(_ spec: JSON, path: String? = nil, user: APIUser? = .root) throws -> Int {
            try fixture.ask("POST", path ?? self.path, ["spec": spec], user: user).status
        }
        #expect(try status(["expirationSeconds": 599]) == 422)
        #expect(try status(["audiences": [""]]) == 422)
        #expect(try status(["boundObjectRef": ["kind": "Secret", "apiVersion": "v1", "name": "web"]]) == 422)
        #expect(try status(["boundObjectRef": ["kind": "Pod", "name": "nobody"]]) == 404)
        #expect(try status(["boundObjectRef": ["kind": "Pod", "name": "other"]]) == 400)
        #expect(try status(["boundObjectRef": ["kind": "Pod", "name": "web", "uid": "x"]]) == 409)
        #expect(try status([:], path: "/api/v1/namespaces/default/serviceaccounts/nobody/token") == 404)
        #expect(try status([:], user: APIUser(name: "eve", groups: [])) == 403)
        #expect(try fixture.ask("GET", path).status == 405)
        fixture.router.tokens = nil
        #expect(try status([:]) == 501)
    }

    @Test("A TokenRequest in protobuf, as kubectl sends it, means the same")
    func protobuf() throws {
        func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { [number << 3 | 2, UInt8(bytes.count)] + bytes }
        func text(_ number: UInt8, _ text: String) -> [UInt8] { field(number, Array(text.utf8)) }
        let bound = text(1, "Pod") + text(2, "v1") + text(3, "web") + text(4, "")
        let spec = text(1, "skein") + field(3, bound) + [4 << 3, 0xD8, 0x04]  // 600
        let type = text(1, "authentication.k8s.io/v1") + text(2, "TokenRequest")
        let body = [0x6B, 0x38, 0x73, 0x00] + field(1, type) + field(2, field(1, []) + field(2, spec))
        let fixture = try fixture()
        let answer = fixture.router.answer(
            try APIRequest(
                method: "POST", target: path, contentType: "application/vnd.kubernetes.protobuf", body: body))
        guard case .bytes(let bytes) = answer.body else { return #expect(Bool(false), "a stream") }
        let json = try JSON.parse(bytes)
        #expect(answer.status == 201 && json["status"]?["token"] == "web/web/uid")
        #expect(json["spec"]?["audiences"] == ["skein"] && json["spec"]?["expirationSeconds"] == 600)
    }

    @Test("Discovery says that a token is created and nothing else")
    func discovery() throws {
        let list = try fixture().ask("GET", "/api/v1").json["resources"]?.array ?? []
        let entry = list.first { $0["name"] == "serviceaccounts/token" }
        #expect(entry?["kind"] == "TokenRequest" && entry?["group"] == "authentication.k8s.io")
        #expect(entry?["verbs"] == ["create"])
    }
}

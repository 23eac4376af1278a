import APIServer
import KubernetesAPI
import Serialization
import Testing

@Suite("Who may do what")
struct AccessTests {
    static let rbac = "/apis/rbac.authorization.k8s.io/v1"
    static let jane = APIUser(name: "jane", groups: ["staff"])

    private func role(_ fixture: Fixture, _ name: String, _ rules: JSON) throws {
        let made = try fixture.ask(
            "POST", Self.rbac + "/namespaces/default/roles", ["metadata": ["name": .string(name)], "rules": rules])
        #expect(made.status == 201, "\(made.message)")
    }

    @discardableResult
    private func bind(
        _ fixture: Fixture, _ role: String, _ subject: JSON, kind: String = "Role", user: APIUser = .root
    ) throws -> Fixture.Answer {
        try fixture.ask(
            "POST", Self.rbac + "/namespaces/default/rolebindings",
            [
                "metadata": ["name": .string(role)],
                "roleRef": ["apiGroup": "rbac.authorization.k8s.io", "kind": .string(kind), "name": .string(role)],
                "subjects": [subject],
            ], user: user)
    }

    @Test("a role allows what it names, in its namespace, until its binding goes")
    func role() throws {
        let fixture = try Fixture()
        try role(fixture, "r", [["apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]]])
        try bind(fixture, "r", ["kind": "User", "name": "jane"])
        #expect(try fixture.ask("GET", pods, user: Self.jane).status == 200)
        #expect(try fixture.ask("GET", "/api/v1/pods", user: Self.jane).status == 403)
        #expect(try fixture.ask("GET", "/api/v1/namespaces/kube-system/pods", user: Self.jane).status == 403)
        #expect(try fixture.ask("GET", pods + "/a/log", user: Self.jane).status == 404)
        let denied = try fixture.ask("POST", pods, Fixture.pod("a"), user: Self.jane)
        #expect(
            denied.message
                == "pods is forbidden: User \"jane\" cannot create resource \"pods\" in API group \"\" in the namespace \"default\""
        )
        try fixture.ask("DELETE", Self.rbac + "/namespaces/default/rolebindings/r")
        #expect(try fixture.ask("GET", pods, user: Self.jane).status == 403)
    }

    @Test("at each start a role of ours gets the rules that it lacks, unless it says that it takes none")
    func defaults() throws {
        let fixture = try Fixture()
        let path = Self.rbac + "/clusterroles/system:aggregate-to-view"
        let added: JSON = ["apiGroups": ["example.org"], "resources": ["things"], "verbs": ["get"]]
        func rules() throws -> [JSON] { try fixture.ask("GET", path).json["rules"]?.array ?? [] }
        func write(_ rules: [JSON], keeps: String) throws {
            var object = try fixture.ask("GET", path).json
            object["rules"] = .array(rules)
            object["metadata"]?["annotations"] = .object(["rbac.authorization.kubernetes.io/autoupdate": .string(keeps)]
            )
            #expect(try fixture.ask("PUT", path, object).status == 200)
        }
        let all = try rules()
        // As a version had it that knew of fewer kinds, and somebody has added one.
        try write([added] + all.dropLast(2), keeps: "true")
        try fixture.registry.bootstrap()
        #expect(try Set(rules()) == Set([added] + all))
        let settled = try fixture.ask("GET", path).json["metadata"]?["resourceVersion"]
        try fixture.registry.bootstrap()
        #expect(try fixture.ask("GET", path).json["metadata"]?["resourceVersion"] == settled)
        try write([added], keeps: "false")
        try fixture.registry.bootstrap()
        #expect(try rules() == [added])
    }

    @Test("names, wildcards and sub-resources are looked at")
    func details() throws {
        let fixture = try Fixture()
        try role(
            fixture, "r",
            [
                ["apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["*"]],
                ["apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"], "verbs": ["get"]],
            ])
        try bind(fixture, "r", ["kind": "Group", "name": "staff"])
        try fixture.ask("POST", deployments, Fixture.deployment())
        #expect(try fixture.ask("GET", deployments + "/web/scale", user: Self.jane).status == 200)
        #expect(try fixture.ask("GET", deployments + "/web", user: Self.jane).status == 403)
        let maps = "/api/v1/namespaces/default/configmaps"
        #expect(try fixture.ask("GET", maps + "/one", user: Self.jane).status == 404)
        #expect(try fixture.ask("GET", maps + "/two", user: Self.jane).status == 403)
    }

    @Test(
        "a role that names an object allows a list and a watch of that name alone, and a watch is no way to get what may not be got"
    )
    func selectedNames() throws {
        let fixture = try Fixture()
        try role(
            fixture, "r",
            [
                [
                    "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"],
                    "verbs": ["list", "watch"],
                ],
                ["apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["watch"]],
            ])
        try bind(fixture, "r", ["kind": "Group", "name": "staff"])
        let maps = "/api/v1/namespaces/default/configmaps"
        #expect(try fixture.ask("GET", maps + "?fieldSelector=metadata.name%3Done", user: Self.jane).status == 200)
        #expect(throws: Never.self) {
            try fixture.watch(maps + "?watch=1&fieldSelector=metadata.name=one", user: Self.jane)
        }
        #expect(throws: Never.self) {
            try fixture.watch("/api/v1/watch/namespaces/default/configmaps/one", user: Self.jane)
        }
        for query in ["", "?fieldSelector=metadata.name=two", "?watch=1", "?fieldSelector=metadata.name!=one"] {
            #expect(try fixture.ask("GET", maps + query, user: Self.jane).status == 403, "\(query)")
        }
        try fixture.ask("POST", deployments, Fixture.deployment())
        #expect(try fixture.ask("GET", deployments + "/web?watch=1", user: Self.jane).status == 403)
        #expect(throws: Never.self) { try fixture.watch(deployments + "?watch=1", user: Self.jane) }
    }

    @Test("the roles that are there from the start are put together by their labels, and a new one joins")
    func aggregation() throws {
        let fixture = try Fixture()
        try bind(
            fixture, "view", ["kind": "ServiceAccount", "name": "robot", "namespace": "default"], kind: "ClusterRole")
        let robot = APIUser.serviceAccount("default", "robot")
        #expect(try fixture.ask("GET", deployments, user: robot).status == 200)
        #expect(try fixture.ask("GET", "/api/v1/namespaces/default/secrets", user: robot).status == 403)
        #expect(try fixture.ask("POST", deployments, Fixture.deployment(), user: robot).status == 403)
        #expect(try fixture.ask("GET", "/api/v1/nodes", user: robot).status == 403)
        try fixture.ask(
            "POST", Self.rbac + "/clusterroles",
            [
                "metadata": ["name": "more", "labels": ["rbac.authorization.k8s.io/aggregate-to-view": "true"]],
                "rules": [["apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]]],
            ])
        #expect(try fixture.ask("GET", "/api/v1/namespaces/default/secrets", user: robot).status == 200)
        let admin = try fixture.ask("GET", Self.rbac + "/clusterroles/admin").json
        #expect((admin["rules"]?.array?.count ?? 0) > 10)
    }

    @Test("nobody gives rights that he does not have")
    func escalation() throws {
        let fixture = try Fixture()
        try bind(fixture, "admin", ["kind": "User", "name": "jane"], kind: "ClusterRole")
        let roles = Self.rbac + "/namespaces/default/roles"
        let fine: JSON = [
            "metadata": ["name": "fine"], "rules": [["apiGroups": [""], "resources": ["pods"], "verbs": ["get"]]],
        ]
        #expect(try fixture.ask("POST", roles, fine, user: Self.jane).status == 201)
        let much: JSON = [
            "metadata": ["name": "much"], "rules": [["apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]]],
        ]
        let refused = try fixture.ask("POST", roles, much, user: Self.jane)
        #expect(refused.status == 403)
        #expect(refused.message.contains("attempting to grant RBAC permissions not currently held"))
        #expect(
            try bind(fixture, "cluster-admin", ["kind": "User", "name": "jane"], kind: "ClusterRole", user: Self.jane)
                .status
                == 403)
        let patched = try fixture.ask(
            "PATCH", roles + "/fine", ["rules": [["apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]]]],
            type: "application/merge-patch+json", user: Self.jane)
        #expect(patched.status == 403)
    }

    @Test("reviews answer what the enforcing code would")
    func reviews() throws {
        let fixture = try Fixture()
        try role(fixture, "r", [["apiGroups": [""], "resources": ["pods"], "verbs": ["get"]]])
        try bind(fixture, "r", ["kind": "User", "name": "jane"])
        let path = "/apis/authorization.k8s.io/v1"
        func may(_ verb: JSON) -> JSON {
            ["spec": ["resourceAttributes": ["verb": verb, "resource": "pods", "namespace": "default"]]]
        }
        let own = try fixture.ask("POST", path + "/selfsubjectaccessreviews", may("get"), user: Self.jane)
        #expect(own.json["status"]?["allowed"] == true)
        #expect(
            try fixture.ask("POST", path + "/selfsubjectaccessreviews", may("delete"), user: Self.jane).json["status"]?[
                "allowed"] == false)
        var other = may("get")
        other["spec"]?["user"] = "jane"
        #expect(try fixture.ask("POST", path + "/subjectaccessreviews", other).json["status"]?["allowed"] == true)
        #expect(try fixture.ask("POST", path + "/subjectaccessreviews", other, user: Self.jane).status == 403)
        let local = path + "/namespaces/kube-system/localsubjectaccessreviews"
        #expect(try fixture.ask("POST", local, other).status == 422)
        let rules = try fixture.ask(
            "POST", path + "/selfsubjectrulesreviews", ["spec": ["namespace": "default"]], user: Self.jane
        ).json["status"]
        #expect(rules?["resourceRules"]?.array?.contains { $0["resources"] == ["pods"] } == true)
        let me = try fixture.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", [:], user: Self.jane)
        #expect(me.json["status"]?["userInfo"]?["username"] == "jane")
    }

    @Test("a bootstrap token is somebody until it ends")
    func bootstrap() throws {
        let fixture = try Fixture()
        func secret(_ data: JSON) -> JSON {
            [
                "metadata": ["name": "bootstrap-token-abcdef"], "type": "bootstrap.kubernetes.io/token",
                "stringData": data,
            ]
        }
        try fixture.ask(
            "POST", "/api/v1/namespaces/kube-system/secrets",
            secret([
                "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
                "expiration": "2027-01-15T08:10:00Z", "auth-extra-groups": "system:bootstrappers:nodes,other",
            ]))
        let user = try fixture.router.authenticate("abcdef.0123456789abcdef")
        #expect(user.name == "system:bootstrap:abcdef")
        #expect(user.groups == ["system:bootstrappers", "system:authenticated", "system:bootstrappers:nodes"])
        for bad in ["abcdef.0123456789abcdeg", "abcdex.0123456789abcdef", "abcdef", "", ".", "abcdef.0123456789abcde"] {
            #expect(throws: StatusError.self) { try fixture.router.authenticate(bad) }
        }
        fixture.seconds += 10_000
        #expect(throws: StatusError.self) { try fixture.router.authenticate("abcdef.0123456789abcdef") }
    }

    @Test("to be somebody else is a right of its own")
    func impersonation() throws {
        let fixture = try Fixture()
        func ask(_ user: APIUser, as other: Impersonation) throws -> APIResponse {
            var request = try APIRequest(method: "GET", target: "/api/v1/namespaces/default/secrets", user: user)
            request.impersonation = other
            return fixture.router.answer(request)
        }
        #expect(try ask(.root, as: Impersonation(user: "jane", groups: [])).status == 403)
        #expect(try ask(.root, as: Impersonation(user: "jane", groups: ["system:masters"])).status == 200)
        #expect(try ask(Self.jane, as: Impersonation(user: "system:admin", groups: ["system:masters"])).status == 403)
        #expect(try ask(.root, as: Impersonation(user: "", groups: ["a"])).status == 400)
    }

    @Test("a token review says whose a token is", arguments: [true, false])
    func tokenReview(isGood: Bool) throws {
        let fixture = try Fixture()
        fixture.router.tokenVerifier = { _, audiences throws(StatusError) in
            guard isGood, audiences == ["skein"] else { throw .unauthorized }
            return .serviceAccount("default", "robot")
        }
        let answer = try fixture.ask(
            "POST", "/apis/authentication.k8s.io/v1/tokenreviews", ["spec": ["token": "x.y.z", "audiences": ["skein"]]])
        #expect(answer.json["status"]?["authenticated"] == .bool(isGood))
        if isGood {
            #expect(answer.json["status"]?["user"]?["username"] == "system:serviceaccount:default:robot")
        }
    }
}

import Testing

@testable import Upstream

@Suite struct RouteMatchTests {
    @Test("H-1 the first route in the list that matches wins, however specific a later one is")
    func firstWins() throws {
        let table = try routes(
            #"""
            {"name":"a","match":{"prefix":"/a"},"route":{"cluster":"c"}},
            {"name":"ab","match":{"prefix":"/a/b"},"route":{"cluster":"c"}},
            {"name":"rest","match":{"prefix":"/"},"route":{"cluster":"c"}}
            """#)
        #expect(table.pick(TestRequest("/a/b")) == "a")
        #expect(table.pick(TestRequest("/b")) == "rest")
    }

    @Test("H-1 all conditions of one match must hold")
    func conditionsAnd() throws {
        let table = try routes(
            #"""
            {"name":"all","match":{"prefix":"/","headers":[{"name":"x","string_match":{"exact":"1"}},
              {"name":":method","string_match":{"exact":"POST"}}],
              "query_parameters":[{"name":"q","string_match":{"exact":"z"}}]},"route":{"cluster":"c"}}
            """#)
        #expect(table.pick(TestRequest("/?q=z", method: "POST", ["x": "1"])) == "all")
        #expect(table.pick(TestRequest("/?q=y", method: "POST", ["x": "1"])) == nil)
        #expect(table.pick(TestRequest("/?q=z", method: "GET", ["x": "1"])) == nil)
        #expect(table.pick(TestRequest("/?q=z", method: "POST", ["x": "2"])) == nil)
        #expect(table.pick(TestRequest("/?q=z", method: "POST")) == nil)
    }

    @Test(
        "H-3 prefix is a plain string prefix",
        arguments: [("/foo", true), ("/foobar", true), ("/foo/bar", true), ("/fo", false), ("/Foo", false)])
    func prefix(path: String, matches: Bool) throws {
        let table = try routes(#"{"name":"r","match":{"prefix":"/foo"},"route":{"cluster":"c"}}"#)
        #expect((table.pick(TestRequest(path)) != nil) == matches)
    }

    @Test(
        "H-3 path_separated_prefix ends where a path element ends",
        arguments: [
            ("/foo", true), ("/foo/", true), ("/foo/bar", true), ("/foo?q", true), ("/foobar", false), ("/fo", false),
            ("/foo#f", true), ("/?/foo", false),
        ])
    func separatedPrefix(path: String, matches: Bool) throws {
        let table = try routes(#"{"name":"r","match":{"path_separated_prefix":"/foo"},"route":{"cluster":"c"}}"#)
        #expect((table.pick(TestRequest(path)) != nil) == matches)
    }

    @Test(
        "an exact path ignores query and fragment and nothing else",
        arguments: [("/a", true), ("/a?b=c", true), ("/a#f", true), ("/a/", false), ("/A", false), ("/", false)])
    func exactPath(path: String, matches: Bool) throws {
        let table = try routes(#"{"name":"r","match":{"path":"/a"},"route":{"cluster":"c"}}"#)
        #expect((table.pick(TestRequest(path)) != nil) == matches)
    }

    @Test("case_sensitive false ignores case in prefix and path")
    func caseInsensitive() throws {
        let table = try routes(
            #"""
            {"name":"p","match":{"path":"/One","case_sensitive":false},"route":{"cluster":"c"}},
            {"name":"q","match":{"prefix":"/Two","case_sensitive":false},"route":{"cluster":"c"}}
            """#)
        #expect(table.pick(TestRequest("/oNE")) == "p")
        #expect(table.pick(TestRequest("/tWO/x")) == "q")
    }

    @Test(
        "H-4 an expression must match the whole path, without its query",
        arguments: [("/a/12", true), ("/a/12?x", true), ("/a/12/b", false), ("x/a/12", false), ("/a/b", false)])
    func regex(path: String, matches: Bool) throws {
        let table = try routes(#"{"name":"r","match":{"safe_regex":{"regex":"/a/[0-9]+"}},"route":{"cluster":"c"}}"#)
        #expect((table.pick(TestRequest(path)) != nil) == matches)
    }

    @Test("H-4 an expression that would explode elsewhere takes linear time, and sees bytes that are no UTF-8")
    func regexSafety() throws {
        let expression = try RegularExpression("(a+)+b")
        let text = [UInt8](repeating: 0x61, count: 20_000)
        #expect(expression.matches(text.span) == false)
        let bytes: [UInt8] = [0xFF, 0x80, 0x61]
        #expect(try RegularExpression(".*a").matches(bytes.span) == true)
    }

    @Test("a connect matcher takes CONNECT requests only")
    func connect() throws {
        let table = try routes(#"{"name":"r","match":{"connect_matcher":{}},"route":{"cluster":"c"}}"#)
        #expect(table.pick(TestRequest("", method: "CONNECT")) == "r")
        #expect(table.pick(TestRequest("/", method: "GET")) == nil)
    }

    @Test("a gRPC match looks at the content type")
    func grpc() throws {
        let table = try routes(#"{"name":"r","match":{"prefix":"/","grpc":{}},"route":{"cluster":"c"}}"#)
        #expect(table.pick(TestRequest("/", ["content-type": "application/grpc"])) == "r")
        #expect(table.pick(TestRequest("/", ["content-type": "application/grpc+proto"])) == "r")
        #expect(table.pick(TestRequest("/", ["content-type": "application/grpc-web"])) == nil)
        #expect(table.pick(TestRequest("/")) == nil)
    }

    @Test("a runtime fraction takes its share of requests, seed 7")
    func runtimeFraction() throws {
        let table = try routes(
            #"""
            {"name":"some","match":{"prefix":"/","runtime_fraction":{"default_value":{"numerator":2500,"denominator":"TEN_THOUSAND"}}},"route":{"cluster":"c"}},
            {"name":"rest","match":{"prefix":"/"},"route":{"cluster":"c"}}
            """#)
        var generator = SplitMix64(seed: 7)
        var count = 0
        for _ in 0..<20_000 where table.pick(TestRequest("/"), random: generator.next()) == "some" { count += 1 }
        #expect(isNear(count, share: 0.25, of: 20_000))
    }

    @Test("H-1 a request whose host no virtual host has gets none, with ports as configured")
    func hosts() throws {
        let strict = try routeTable(
            #"{"virtual_hosts":[{"name":"v","domains":["a.com"],"routes":[{"name":"r","match":{"prefix":"/"},"route":{"cluster":"c"}}]}]}"#
        )
        #expect(strict.pick(TestRequest(host: "A.com")) == "r")
        #expect(strict.pick(TestRequest(host: "a.com:80")) == nil)
        let loose = try routeTable(
            #"{"ignore_port_in_host_matching":true,"virtual_hosts":[{"name":"v","domains":["a.com"],"routes":[{"name":"r","match":{"prefix":"/"},"route":{"cluster":"c"}}]}]}"#
        )
        #expect(loose.pick(TestRequest(host: "a.com:80")) == "r")
        #expect(loose.pick(TestRequest(host: "b.com")) == nil)
    }

    @Test("R-9 only the best virtual host is asked: no route there means no route at all")
    func noFallThrough() throws {
        let table = try routeTable(
            #"""
            {"virtual_hosts":[
              {"name":"exact","domains":["a.com"],"routes":[{"name":"x","match":{"prefix":"/x"},"route":{"cluster":"c"}}]},
              {"name":"all","domains":["*"],"routes":[{"name":"any","match":{"prefix":"/"},"route":{"cluster":"c"}}]}]}
            """#)
        #expect(table.pick(TestRequest("/x", host: "a.com")) == "x")
        #expect(table.pick(TestRequest("/y", host: "a.com")) == nil)
        #expect(table.pick(TestRequest("/y", host: "b.com")) == "any")
    }

    @Test("require_tls ALL redirects plain-text requests and lets the others pass")
    func requireTLS() throws {
        let table = try routeTable(
            #"{"virtual_hosts":[{"name":"v","domains":["*"],"require_tls":"ALL","routes":[{"name":"r","match":{"prefix":"/"},"route":{"cluster":"c"}}]}]}"#
        )
        let plain = TestRequest("/p?q", host: "a.com:80")
        let route = try #require(table.route(for: plain, random: 0)?.route)
        #expect(text(route.location(for: plain)) == "https://a.com/p?q")
        #expect(table.pick(TestRequest(scheme: "https")) == "r")
    }
}

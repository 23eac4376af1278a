import Testing

@testable import Upstream

@Suite struct DomainTableTests {
    private func table(_ domains: [String]) -> DomainTable {
        var table = DomainTable()
        for (index, domain) in domains.enumerated() { #expect(table.insert(domain, index) == nil) }
        return table
    }

    private func find(_ table: DomainTable, _ authority: String) -> Int? {
        let bytes = Array(authority.utf8)
        return table.find(bytes.span)
    }

    @Test("R-9 exact beats the longest suffix, that the longest prefix, that the star")
    func order() {
        let table = table(["*", "foo.*", "foo.bar.*", "*.com", "*.bar.com", "foo.bar.com", "*-x.bar.com"])
        #expect(find(table, "foo.bar.com") == 5)
        #expect(find(table, "a.bar.com") == 4)
        #expect(find(table, "a-x.bar.com") == 6)
        #expect(find(table, "a.com") == 3)
        #expect(find(table, "foo.bar.org") == 2)
        #expect(find(table, "foo.org") == 1)
        #expect(find(table, "org") == 0)
        #expect(find(table, "") == 0)
    }

    @Test("R-9 hosts compare without case, and a wildcard stands for at least one character")
    func caseAndLength() {
        let table = table(["Foo.COM", "*.Foo.com", "bar.*"])
        #expect(find(table, "fOO.com") == 0)
        #expect(find(table, "A.foo.COM") == 1)
        #expect(find(table, ".foo.com") == nil)
        #expect(find(table, "BAR.x") == 2)
        #expect(find(table, "bar.") == nil)
        #expect(find(table, "other") == nil)
    }

    @Test("a domain that stands twice, has a star inside is refused; the empty one is the empty name's")
    func refusals() {
        var table = table(["a.com", "*.a.com", "a.*", "*"])
        #expect(table.insert("A.com", 9)?.contains("another virtual host") == true)
        #expect(table.insert("*.A.com", 9)?.contains("another virtual host") == true)
        #expect(table.insert("a.*", 9)?.contains("another virtual host") == true)
        #expect(table.insert("*", 9)?.contains("another virtual host") == true)
        #expect(table.insert("", 9) == nil && find(table, "") == 9)
        #expect(table.insert("", 8)?.contains("another virtual host") == true)
        #expect(table.insert("a.*.com", 9)?.contains("beginning or the end") == true)
        #expect(find(table, "a.com") == 0)
    }

    @Test("a thousand names are all found")
    func many() {
        let table = table((0..<1000).map { "svc-\($0).ns.svc.cluster.local" })
        for index in 0..<1000 { #expect(find(table, "SVC-\(index).ns.svc.cluster.local") == index) }
        #expect(find(table, "svc-1000.ns.svc.cluster.local") == nil)
    }

    @Test(
        "the port is cut off names and bracketed addresses only",
        arguments: [
            ("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("::1", "::1"), ("a:", "a"),
            (":80", ""), ("", ""), ("a:b", "a:b"),
        ])
    func ports(authority: String, host: String) {
        let bytes = Array(authority.utf8)
        #expect(DomainTable.countWithoutPort(bytes.span) == host.utf8.count)
    }
}

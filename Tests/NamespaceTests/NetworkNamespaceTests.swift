import Glibc
import IO
import Testing

@Suite("Network namespaces")
struct NetworkNamespaceTests {
    @Test("code runs inside on another thread, and the caller stays where it is")
    func run() throws {
        try nsTest { host in
            let outer = try NetworkNamespace.current()
            let inner = try NetworkNamespace.create()
            let seen = try inner.run { () throws(SystemError) in try NetworkNamespace.current() }
            try require(seen.isSame(as: inner) && !seen.isSame(as: outer), "it did not run inside")
            try require(try NetworkNamespace.current().isSame(as: outer), "the caller has moved")
            let error = try inner.run(catching: { () throws(Failed) in throw Failed(description: "mine") })
            guard case .failure(let failed) = error else { throw Failed(description: "no failure") }
            try requireEqual(failed.description, "mine", "the body's own error")
        }
    }

    @Test("a named one can be opened again, is listed, and goes when it is removed, twice if need be")
    func named() throws {
        try nsTest { host in
            let directory = "\(host.runDirectory)/netns"
            try requireEqual(try NetworkNamespace.list(in: directory), [], "before")
            let made = try NetworkNamespace.create(named: "a", in: directory)
            try require(try NetworkNamespace.open(named: "a", in: directory).isSame(as: made), "another one")
            try requireEqual(try NetworkNamespace.list(in: directory), ["a"], "list")
            try expectError(EEXIST) { () throws(SystemError) in
                _ = try NetworkNamespace.create(named: "a", in: directory)
            }
            try require(try NetworkNamespace.open(named: "a", in: directory).isSame(as: made), "it was harmed")
            try NetworkNamespace.remove(named: "a", in: directory)
            try NetworkNamespace.remove(named: "a", in: directory)
            try requireEqual(try NetworkNamespace.list(in: directory), [], "after")
        }
    }

    @Test("what is no namespace and no name is refused")
    func refused() throws {
        try nsTest { host in
            let directory = "\(host.runDirectory)/netns"
            try expectError(ENOENT) { () throws(SystemError) in
                _ = try NetworkNamespace.open(named: "a", in: directory)
            }
            try File.makeDirectory(directory)
            try File.write("\(directory)/file", [])
            try expectError(EINVAL) { () throws(SystemError) in
                _ = try NetworkNamespace.open(named: "file", in: directory)
            }
            for name in ["", ".", "..", "a/b", "../x", "a b", String(repeating: "x", count: 256)] {
                try expectError(EINVAL) { () throws(SystemError) in
                    _ = try NetworkNamespace.create(named: name, in: directory)
                }
            }
        }
    }

    private func expectError(_ number: Int32, _ body: () throws(SystemError) -> Void) throws {
        do throws(SystemError) { try body() } catch {
            return try requireEqual(error.errno, number, error.description)
        }
        throw Failed(description: "no error, expected \(SystemError(number, "this"))")
    }
}

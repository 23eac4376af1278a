import Testing

@testable import Lua

@Suite("Lua: bounded scripts")
struct LuaTests {
    /// Writes down what scripts ask, and answers.
    final class Host: LuaHost {
        var asked: [[LuaValue]] = []
        func call(_ operation: Int, _ arguments: [LuaValue]) -> LuaAnswer {
            asked.append(arguments)
            switch operation {
            case 1: return .values(arguments)
            case 2: return .failure("no")
            default: return .values([.table([.string("k"), .list([.number(1), .bool(true)])]), .none])
            }
        }
    }

    private static let prelude = "native = ... function start(f) return f() end\n"

    private static func machine(_ code: String, memory: Int = 4 << 20) throws -> LuaMachine {
        let machine = try #require(LuaMachine(memoryMax: memory, instructionsMax: 1_000_000))
        try machine.load(Array((prelude + code).utf8), name: "=test", host: Host())
        return machine
    }

    private static func run(_ machine: LuaMachine, _ function: String, _ host: Host = Host()) throws -> [LuaThread
        .Outcome]
    {
        let thread = try LuaThread(machine, starter: "start", function: function)
        var outcomes: [LuaThread.Outcome] = []
        repeat { outcomes.append(thread.resume(host)) } while outcomes.last == .yielded && outcomes.count < 100
        return outcomes
    }

    @Test("values go both ways, nested too, and a failure is an error that the script can catch")
    func values() throws {
        let machine = try Self.machine(
            """
            function f()
              local a, b, c, d = native(1, "x\\0y", 2.5, true, nil)
              assert(a == "x\\0y" and b == 2.5 and c == true and d == nil)
              local t, n = native(3)
              assert(t.k[1] == 1 and t.k[2] == true and n == nil)
              local ok, why = pcall(native, 2)
              assert(not ok and why == "no")
              coroutine.yield()
              native(1, {})
            end
            """)
        let host = Host()
        #expect(try Self.run(machine, "f", host) == [.yielded, .finished])
        #expect(host.asked.last == [.other])
    }

    @Test("a script that never ends is ended, even if it catches the error")
    func instructions() throws {
        let machine = try Self.machine(
            """
            function spin() while true do end end
            function catch() while true do pcall(spin) end end
            function fine() return 1 end
            """)
        for function in ["spin", "catch"] {
            let outcomes = try Self.run(machine, function)
            guard case .failed(let error) = outcomes.last else {
                Issue.record("\(function) ended")
                continue
            }
            #expect(error.description.contains("too many instructions"))
        }
        #expect(try Self.run(machine, "fine") == [.finished])
    }

    @Test("memory is bounded, and what a script used up is there again for the next")
    func memory() throws {
        let machine = try Self.machine(
            """
            function eat() local t = {} for i = 1, 1e6 do t[i] = ("x"):rep(1000) .. i end end
            function fine() return ("x"):rep(1000) end
            """)
        for _ in 0..<5 {
            guard case .failed = try Self.run(machine, "eat").last else {
                Issue.record("it was not ended")
                return
            }
            #expect(try Self.run(machine, "fine") == [.finished])
        }
    }

    @Test("files, processes, modules, byte code and the debugger are out of reach")
    func sandbox() throws {
        for name in [
            "io", "ffi", "debug", "jit", "package", "require", "dofile", "loadfile", "os.execute", "string.dump",
        ] {
            let machine = try Self.machine("assert(\(name) == nil)")
            #expect(machine.memory > 0)
        }
    }

    @Test("a text that is no Lua is an error with its place")
    func syntax() {
        #expect(throws: LuaError.self) { try Self.machine("function (") }
        #expect(throws: LuaError.self) { try Self.machine("error('x')") }
        #expect(throws: LuaError.self) { try Self.machine("while true do end") }
    }
}

import Glibc
import IO
import Testing

/// Every decoder under mutated input: a smoke run, always the same, or a long one.
///
/// `SKEIN_FUZZ_SECONDS` makes it long: so many seconds for each target, from a seed of the clock (or `SKEIN_FUZZ_SEED`), with the
/// number under way in `.build/fuzz/NAME.last`, so that a trap can be found again. `SKEIN_FUZZ_TARGET` chooses one target,
/// `SKEIN_FUZZ_INPUT` one number.
@Suite("Fuzzing: no input traps a decoder, and each promise holds")
struct FuzzTests {
    @Test("what peers and files may send", arguments: FuzzTarget.all.map(\.name))
    func target(_ name: String) throws {
        if let only = Environment.variable("SKEIN_FUZZ_TARGET"), only != name { return }
        let target = try #require(FuzzTarget.all.first { $0.name == name })
        let seeds = try Corpus.seeds(name)
        #expect(!seeds.isEmpty && seeds.allSatisfy { $0.count <= 4096 })
        for seed in seeds { try run(target, seed, "seed") }
        let mutator = Mutator(seeds: seeds, words: target.words)
        guard let seconds = Environment.variable("SKEIN_FUZZ_SECONDS").flatMap({ Int($0) }) else {
            let only = Environment.variable("SKEIN_FUZZ_INPUT").flatMap { UInt64($0) }
            for number in only.map({ $0...$0 }) ?? 1...UInt64(target.smoke) { try input(number, target, mutator) }
            return
        }
        try long(target, mutator, seconds)
    }

    private func long(_ target: FuzzTarget, _ mutator: Mutator, _ seconds: Int) throws {
        try File.makeDirectory(".build/fuzz")
        let path = ".build/fuzz/\(target.name).last"
        let fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
        defer { close(fd) }
        let begin = Environment.variable("SKEIN_FUZZ_SEED").flatMap { UInt64($0) } ?? UInt64(time(nil)) << 24
        var number = begin
        let end = MonotonicTime.now + .seconds(seconds)
        while MonotonicTime.now < end {
            number &+= 1
            let text = Array("\(number)\n".utf8)
            _ = pwrite(fd, text, text.count, 0)
            try input(number, target, mutator)
        }
        print("\(target.name): \(number &- begin) inputs from \(begin)")
    }

    private func input(_ number: UInt64, _ target: FuzzTarget, _ mutator: Mutator) throws {
        var random = FuzzRandom(number)
        try run(target, mutator.input(using: &random), "input \(number)")
    }

    private func run(_ target: FuzzTarget, _ input: [UInt8], _ what: String) throws {
        do {
            try target.run(input)
        } catch {
            Issue.record("\(target.name), \(what): \(error): \(Corpus.escaped(input))")
            throw error
        }
    }
}

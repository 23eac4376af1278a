import Glibc
import IO

/// The target that `SKEIN_FUZZ_TARGET` names.
private let target = FuzzTarget.all.first { $0.name == Environment.variable("SKEIN_FUZZ_TARGET") }

/// libFuzzer's entry: the same promises, inputs found by coverage.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    guard let target else {
        fputs("SKEIN_FUZZ_TARGET names none of \(FuzzTarget.all.map(\.name))\n", stderr)
        exit(2)
    }
    do {
        try target.run(Array(UnsafeBufferPointer(start: data, count: count)))
    } catch {
        fputs("\(target.name): \(error)\n", stderr)
        abort()
    }
    return 0
}

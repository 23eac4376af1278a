import Glibc
import IO

typealias Arguments = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
typealias OneInput = @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32

/// libFuzzer's own `main`.
@_silgen_name("LLVMFuzzerRunDriver")
func runDriver(
    _ count: UnsafeMutablePointer<Int32>, _ arguments: UnsafeMutablePointer<Arguments>, _ body: OneInput
) -> Int32

/// The target that `SKEIN_FUZZ_TARGET` names.
private let target = FuzzTarget.all.first { $0.name == Environment.variable("SKEIN_FUZZ_TARGET") }

private func say(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = write(STDERR_FILENO, line, line.count)
}

/// The program's entry, by the name that the package manager gives it.
@_cdecl("skein_fuzz_main")
public func fuzzMain(_ count: Int32, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32 {
    guard target != nil else {
        say("SKEIN_FUZZ_TARGET names none of \(FuzzTarget.all.map(\.name))")
        return 2
    }
    var (count, arguments) = (count, arguments)
    return runDriver(&count, &arguments) { fuzzOneInput($0, $1) }
}

/// One input.
///
/// libFuzzer's library also has a `main`, which is not used but wants this name to link.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    do {
        try target?.run(Array(UnsafeBufferPointer(start: data, count: count)))
    } catch {
        say("\(error)")
        abort()
    }
    return 0
}

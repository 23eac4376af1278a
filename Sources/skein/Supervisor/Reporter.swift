internal import IO

/// Where `skein up` and `skein down` tell how far they are: a terminal (one line that changes), a pipe (plain lines), or,
/// for the process behind `--detach`, the process that was typed.
///
/// `@unchecked Sendable`: used on the supervisor's loop only.
final class Reporter: @unchecked Sendable {
    private let descriptor: Int32?
    private let isLive: Bool
    private var hasLiveLine = false
    private var lastProgress = ""

    /// - Parameter descriptor: the pipe of a detached supervisor.
    init(descriptor: Int32?) {
        self.descriptor = descriptor
        isLive = descriptor == nil && Environment.isTerminal(1)
    }

    /// A line of the result.
    func out(_ text: String) { say("o", text) }

    /// A warning or an error.
    func error(_ text: String) { say("e", text) }

    /// What is being done now; replaced by the next.
    func progress(_ text: String) {
        guard text != lastProgress else { return }
        lastProgress = text
        if let descriptor { return Self.write(descriptor, "p\(text)\n") }
        guard isLive else { return Console.out(text + "\n") }
        Console.out("\r\u{1B}[K\(text)")
        hasLiveLine = true
    }

    /// The last word of a detached supervisor to the process that waits for it.
    func done(_ status: Int32) {
        endLine()
        if let descriptor { Self.write(descriptor, "q\(status)\n") }
    }

    private func endLine() {
        guard hasLiveLine else { return }
        Console.out("\r\u{1B}[K")
        hasLiveLine = false
    }

    private func say(_ stream: String, _ text: String) {
        guard let descriptor else {
            endLine()
            return stream == "o" ? Console.out(text + "\n") : Console.error(text + "\n")
        }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            Self.write(descriptor, "\(stream)\(line)\n")
        }
    }

    private static func write(_ descriptor: Int32, _ text: String) {
        // The reader may be gone (Ctrl-C while waiting): then nobody needs the words.
        Console.write(descriptor, text)
    }
}

internal import CLinux
internal import Glibc

/// Terminals: making one for a program, and using the one that we were started at.
public enum Terminal {
    /// Makes a terminal whose other side is in raw mode; the caller closes both.
    public static func open() throws(SystemError) -> (main: Int32, replica: Int32) {
        var (main, replica) = (Int32(-1), Int32(-1))
        try check(clinux_open_terminal(&main, &replica), "open a terminal")
        return (main, replica)
    }

    /// Sets the size of a terminal's window in characters.
    public static func setSize(_ fd: Int32, columns: UInt16, rows: UInt16) throws(SystemError) {
        try check(clinux_set_window(fd, columns, rows), "set a terminal's size")
    }

    /// The size of a terminal's window in characters; nil when it is no terminal.
    public static func size(_ fd: Int32) -> (columns: UInt16, rows: UInt16)? {
        var (columns, rows) = (UInt16(0), UInt16(0))
        return clinux_get_window(fd, &columns, &rows) == 0 ? (columns, rows) : nil
    }

    /// Whether the descriptor is a terminal.
    public static func isTerminal(_ fd: Int32) -> Bool { isatty(fd) == 1 }

    /// A terminal in raw mode, until `restore`.
    public struct RawMode: Sendable {
        private let fd: Int32
        private let before: [UInt8]

        /// Puts the terminal into raw mode: every key goes to the program at once.
        public init(_ fd: Int32) throws(SystemError) {
            self.fd = fd
            var mode = termios()
            try checkErrno(tcgetattr(fd, &mode), "read a terminal's mode")
            before = withUnsafeBytes(of: mode) { Array($0) }
            cfmakeraw(&mode)
            try checkErrno(tcsetattr(fd, TCSANOW, &mode), "set a terminal's mode")
        }

        /// Gives the terminal its former mode back.
        public func restore() {
            var mode = termios()
            withUnsafeMutableBytes(of: &mode) { $0.copyBytes(from: before) }
            _ = tcsetattr(fd, TCSANOW, &mode)
        }
    }
}

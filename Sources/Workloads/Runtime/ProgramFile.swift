internal import IO

/// Facts about a program file.
enum ProgramFile {
    /// Whether the program needs no interpreter, and so no shared library: an ELF file without PT_INTERP.
    static func isStatic(_ path: String) -> Bool {
        guard let head = try? File.readPrefix(path, 4096), head.starts(with: [0x7F, 0x45, 0x4C, 0x46]), head.count >= 64
        else { return false }
        func number(_ offset: Int, _ size: Int) -> Int? {
            guard offset >= 0, offset <= head.count - size else { return nil }
            return head[offset..<offset + size].reversed().reduce(0 as Int?) { value, byte in
                guard let value, value < 1 << 48 else { return nil }
                return value << 8 | Int(byte)
            }
        }
        // ELF64: program headers at e_phoff, e_phentsize bytes each, e_phnum of them.
        guard let start = number(32, 8), let size = number(54, 2), let count = number(56, 2), size > 0 else {
            return false
        }
        for index in 0..<count {
            guard let type = number(start + index * size, 4) else { return false }
            if type == 3 { return false }
        }
        return true
    }
}

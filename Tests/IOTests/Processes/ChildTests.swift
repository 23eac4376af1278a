import Glibc
import IO
import Testing

@Suite("Child processes")
struct ChildTests {
    @Test("a program's exit code and output come back")
    func codeAndOutput() throws {
        let (status, output) = try Child.run(.init(["/bin/sh", "-c", "echo out; echo err >&2; exit 7"]))
        #expect(status == .exited(7))
        #expect(String(decoding: output, as: UTF8.self) == "out\nerr\n")
    }

    @Test("a program that is not there is an error of the start, and names the path")
    func missingProgram() {
        let error = #expect(throws: SystemError.self) { try Child.run(.init(["/no/such/program"])) }
        #expect(error?.errno == ENOENT)
        #expect(error?.operation == "start /no/such/program")
    }

    @Test("a working directory that is not there is an error of the start, and names the step")
    func missingDirectory() {
        var command = Child.Command(["/bin/true"])
        command.workingDirectory = "/no/such/directory"
        let error = #expect(throws: SystemError.self) { try Child.run(command) }
        #expect(error?.errno == ENOENT)
        #expect(error?.operation == "start /bin/true (chdir)")
    }

    @Test("a signal by pidfd ends the process and is its status")
    func signal() throws {
        let child = try Child(.init(["/bin/sleep", "1000"]))
        #expect(try child.poll() == nil)
        try child.signal(SIGTERM)
        #expect(try child.wait() == .signaled(SIGTERM))
    }

    @Test("descriptors arrive under the numbers asked for, also when the numbers cross")
    func descriptors() throws {
        let first = try #require(scratch("first"))
        let second = try #require(scratch("second"))
        defer {
            close(first)
            close(second)
        }
        var command = Child.Command(["/bin/bash", "-c", "cat <&\(second); cat <&\(first)"])
        command.descriptors = [first: second, second: first]
        let (_, output) = try Child.run(command)
        #expect(String(decoding: output, as: UTF8.self) == "firstsecond")
    }

    @Test("a descriptor that was opened without close-on-exec does not reach the program")
    func strangeDescriptors() throws {
        let stray = open("/dev/null", O_RDONLY)
        defer { close(stray) }
        let (_, output) = try Child.run(.init(["/bin/ls", "/proc/self/fd"]))
        // 3 is ls' own view of the directory.
        #expect(String(decoding: output, as: UTF8.self) == "0\n1\n2\n3\n")
    }

    @Test(
        "a program that does not end is killed, whether it keeps its output or has closed it",
        arguments: ["", "exec >&- 2>&-; "])
    func late(_ before: String) throws {
        let command = Child.Command(["/bin/sh", "-c", before + "while :; do :; done"])
        let error = #expect(throws: SystemError.self) { try Child.run(command, timeout: .milliseconds(50)) }
        #expect(error?.errno == ETIMEDOUT)
        #expect("\(try #require(error))".contains("/bin/sh had not ended"))
    }

    @Test("only the environment that was given is there")
    func environment() throws {
        let (_, output) = try Child.run(.init(["/usr/bin/env"], environment: ["A=b c"]))
        #expect(String(decoding: output, as: UTF8.self) == "A=b c\n")
    }

    @Test("a session leader has its own session", .enabled(if: geteuid() == 0))
    func sessionAndUser() throws {
        var command = Child.Command(["/bin/sh", "-c", "id -u; id -g; id -G; ps -o sid= -p $$ | tr -d ' '; echo $$"])
        command.user = (1337, 1338)
        command.isSessionLeader = true
        let (_, output) = try Child.run(command)
        let lines = String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init)
        #expect(lines.count == 5)
        #expect(Array(lines.prefix(3)) == ["1337", "1338", "1338"])
        #expect(lines.last == lines.dropLast().last)
    }

    @Test("a handle on a process sees its end")
    func handle() throws {
        let child = try Child(.init(["/bin/sleep", "1000"]))
        let pid = child.pid
        #expect(ProcessHandle.startTime(of: pid) != nil)
        let handle = try ProcessHandle(pid: pid)
        #expect(handle.isRunning)
        try handle.signal(SIGKILL)
        #expect(try child.wait() == .signaled(SIGKILL))
        #expect(!handle.isRunning)
        try handle.signal(SIGKILL)
    }

    /// A file that holds `text`, open for reading, with a number from 20 on.
    private func scratch(_ text: String) -> Int32? {
        let file = memfd(text)
        guard file >= 0 else { return nil }
        defer { close(file) }
        return fcntl(file, F_DUPFD_CLOEXEC, 20)
    }

    private func memfd(_ text: String) -> Int32 {
        var path = Array("/tmp/skein-child-XXXXXX".utf8CString)
        let fd = mkstemp(&path)
        guard fd >= 0 else { return -1 }
        unlink(path)
        var bytes = Array(text.utf8)
        pwrite(fd, &bytes, bytes.count, 0)
        return fd
    }
}

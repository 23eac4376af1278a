internal import CLinux
internal import Glibc
internal import Synchronization
internal import Telemetry

/// What a file descriptor is ready for.
public struct Readiness: OptionSet, Sendable {
    /// The bits.
    public let rawValue: UInt8
    /// From bits.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// There are bytes, a connection, or the end.
    public static let readable = Readiness(rawValue: 1)
    /// Bytes can be written, or a connect has ended.
    public static let writable = Readiness(rawValue: 2)
    /// The peer is gone in both directions, or the socket failed: reading and writing will tell.
    public static let hangup = Readiness(rawValue: 4)
    /// The peer has ended its direction: an end (or an error) lies behind the bytes that can be read, so a short read does
    /// not mean that nothing follows.
    public static let ended = Readiness(rawValue: 8)
}

/// Somebody who waits for a file descriptor.
///
/// Called on the loop's thread.
public protocol ReadinessHandler: AnyObject {
    /// The descriptor has become ready.
    ///
    /// Edge-triggered: the next call comes only after the descriptor was found empty (EAGAIN) and got ready again.
    func ready(_ readiness: Readiness)
}

/// A registration of a descriptor at a loop.
///
/// Dropping it does not cancel it.
public final class Registration {
    private let loop: EventLoop
    private let fd: Int32
    /// Narrow: each connection has a registration.
    private let slot: UInt32
    private let generation: UInt32
    private var isCancelled = false

    init(loop: EventLoop, fd: Int32, slot: Int, generation: UInt32) {
        self.loop = loop
        self.fd = fd
        self.slot = UInt32(truncatingIfNeeded: slot)
        self.generation = generation
    }

    /// Ends the registration: the handler is released and not called again, also not for events of this very pass.
    ///
    /// Must come before the descriptor is closed. Harmless when done twice.
    public func cancel() {
        guard !isCancelled else { return }
        isCancelled = true
        loop.unregister(fd: fd, slot: Int(slot), generation: generation)
    }
}

/// One thread that waits for descriptors, timers and messages, and runs what they wake.
///
/// A loop owns what is registered at it: connections, timers, pools. Their code is synchronous and runs to completion on
/// the loop's thread; only `execute`, `stop` and `isOnLoop` may be called from elsewhere. It is an executor too, so that
/// control-path code may be structured concurrency on the same thread:
/// `Task(executorPreference: loop) { … }`.
///
/// `@unchecked Sendable`: everything but `mailbox`, `owner` and the wake-up descriptor is touched on the loop's thread
/// alone, which the entry points assert (docs/threads.md).
public final class EventLoop: SerialExecutor, TaskExecutor, @unchecked Sendable {
    private struct Mailbox: ~Copyable {
        var messages: [@Sendable () -> Void] = []
        var jobs: [UnownedJob] = []
        var isSignalled = false
    }

    private struct Slot {
        var generation: UInt32 = 0
        var handler: (any ReadinessHandler)?
    }

    /// Events taken from the kernel at once: enough to serve a burst, little enough to keep timers punctual.
    private static let eventsMax = 256

    private let epoll: Int32
    private let wakeup: Int32
    private let mailbox = Mutex(Mailbox())
    /// `pthread_self` of the running thread, 0 before `run`.
    ///
    /// (`gettid` would be a system call for every hop.)
    private let owner = Atomic<UInt>(0)

    private var slots: [Slot] = []
    private var freeSlots: [Int] = []
    private let timers: TimerWheel
    private var endOfPass: [() -> Void] = []
    private var everyPass: [() -> Void] = []
    private var isStopping = false
    /// Memory that the direct streams of this loop use in turn.
    public private(set) lazy var scratch = StreamScratch()

    /// The time of this pass.
    ///
    /// Read once per wake-up.
    public private(set) var now: MonotonicTime

    /// A loop that does not run yet.
    public init() throws(SystemError) {
        epoll = try checkErrno(epoll_create1(Int32(EPOLL_CLOEXEC)), "epoll_create")
        wakeup = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
        now = .now
        timers = TimerWheel(now: now)
        guard wakeup >= 0 else {
            let error = SystemError.last("eventfd")
            close(epoll)
            throw error
        }
        var event = epoll_event()
        event.events = EPOLLIN.rawValue
        event.data.u64 = .max
        try checkErrno(epoll_ctl(epoll, EPOLL_CTL_ADD, wakeup, &event), "epoll_ctl eventfd")
    }

    deinit {
        close(wakeup)
        close(epoll)
    }

    /// Makes a thread and runs a new loop on it.
    public static func start(name: String) throws(SystemError) -> EventLoop {
        let loop = try EventLoop()
        try Thread.start(name: name) { loop.run() }
        return loop
    }

    // MARK: Any thread

    /// Whether the caller is on the loop's thread.
    public var isOnLoop: Bool { owner.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// Runs `body` on the loop, after what it is doing now.
    ///
    /// Any thread.
    public func execute(_ body: @escaping @Sendable () -> Void) {
        let mustWake = mailbox.withLock { box in
            box.messages.append(body)
            clinux_handed_over(address)
            defer { box.isSignalled = true }
            return !box.isSignalled
        }
        if mustWake, !isOnLoop { wake() }
    }

    /// Makes `run` return after the pass that is under way.
    ///
    /// Any thread.
    public func stop() {
        execute { [self] in isStopping = true }
    }

    /// What hand-overs through the mailbox are known by.
    private var address: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    private func wake() {
        var one: UInt64 = 1
        _ = write(wakeup, &one, MemoryLayout<UInt64>.size)
    }

    // MARK: Executor

    /// Takes a job of the concurrency runtime.
    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        let mustWake = mailbox.withLock { box in
            box.jobs.append(job)
            clinux_handed_over(address)
            defer { box.isSignalled = true }
            return !box.isSignalled
        }
        if mustWake, !isOnLoop { wake() }
    }

    /// This loop as the runtime's serial executor.
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    /// This loop as the runtime's task executor.
    public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }

    /// Stops the program when the caller is not on the loop.
    public func checkIsolated() { precondition(isOnLoop, "not on the event loop's thread") }

    /// Whether the caller is on the loop.
    public func isIsolatingCurrentContext() -> Bool? { isOnLoop }

    // MARK: The loop

    /// Serves events until `stop`.
    ///
    /// The calling thread becomes the loop's thread.
    public func run() {
        owner.store(UInt(pthread_self()), ordering: .relaxed)
        defer { owner.store(0, ordering: .relaxed) }
        let events = UnsafeMutableBufferPointer<epoll_event>.allocate(capacity: EventLoop.eventsMax)
        defer { events.deallocate() }
        now = .now
        runEndOfPass()
        while true {
            let worked = drainMailbox()
            if worked { runEndOfPass() }
            guard !isStopping else { break }
            let timeout = worked || hasMail ? 0 : timers.millisecondsToNext(now: now)
            let count = epoll_wait(epoll, events.baseAddress, Int32(EventLoop.eventsMax), timeout)
            now = .now
            if count < 0 {
                // EINTR is the only error that a correct program can see here.
                precondition(errno == EINTR, "epoll_wait: error \(errno)")
                continue
            }
            for index in 0..<Int(count) { dispatch(events[index]) }
            timers.expire(now: now)
            // Before the mailbox: what is in it may take long (new tables), and answers wait for the end of the pass.
            runEndOfPass()
        }
        isStopping = false
    }

    private var hasMail: Bool { mailbox.withLock { !$0.messages.isEmpty || !$0.jobs.isEmpty } }

    private func dispatch(_ event: epoll_event) {
        let token = event.data.u64
        if token == .max {
            var value: UInt64 = 0
            _ = read(wakeup, &value, MemoryLayout<UInt64>.size)
            return
        }
        // A handler earlier in this pass may have cancelled this one, and its slot may be in use again.
        let index = Int(truncatingIfNeeded: token & 0xFFFF_FFFF)
        guard slots.indices.contains(index), slots[index].generation == UInt32(truncatingIfNeeded: token >> 32),
            let handler = slots[index].handler
        else { return }
        var readiness: Readiness = []
        if event.events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue) != 0 { readiness.insert(.readable) }
        if event.events & EPOLLOUT.rawValue != 0 { readiness.insert(.writable) }
        if event.events & EPOLLRDHUP.rawValue != 0 { readiness.insert(.ended) }
        if event.events & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 {
            readiness.insert([.readable, .writable, .hangup, .ended])
        }
        handler.ready(readiness)
    }

    private func drainMailbox() -> Bool {
        let mail = mailbox.withLock { box -> ([@Sendable () -> Void], [UnownedJob])? in
            box.isSignalled = false
            guard !box.messages.isEmpty || !box.jobs.isEmpty else { return nil }
            let taken = (box.messages, box.jobs)
            clinux_taken_over(address)
            box.messages = []
            box.jobs = []
            return taken
        }
        guard let (messages, jobs) = mail else { return false }
        for message in messages { message() }
        for job in jobs {
            job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
        }
        return true
    }

    private func runEndOfPass() {
        while true {
            for index in everyPass.indices { everyPass[index]() }
            guard !endOfPass.isEmpty else { return }
            let bodies = endOfPass
            endOfPass = []
            for body in bodies { body() }
        }
    }

    // MARK: On the loop

    /// Registers a descriptor, edge-triggered, for both directions.
    ///
    /// On the loop, or before it runs.
    public func register(_ fd: Int32, _ handler: any ReadinessHandler) throws(SystemError) -> Registration {
        assert(isOnLoop || owner.load(ordering: .relaxed) == 0)
        let index: Int
        if let free = freeSlots.popLast() {
            index = free
        } else {
            index = slots.count
            slots.append(Slot())
        }
        slots[index].handler = handler
        let generation = slots[index].generation
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
        event.data.u64 = UInt64(generation) << 32 | UInt64(index)
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 else {
            let error = SystemError.last("epoll_ctl \(fd)")
            release(slot: index)
            throw error
        }
        return Registration(loop: self, fd: fd, slot: index, generation: generation)
    }

    fileprivate func unregister(fd: Int32, slot: Int, generation: UInt32) {
        assert(isOnLoop || owner.load(ordering: .relaxed) == 0)
        guard slots.indices.contains(slot), slots[slot].generation == generation else { return }
        var event = epoll_event()
        _ = epoll_ctl(epoll, EPOLL_CTL_DEL, fd, &event)
        release(slot: slot)
    }

    private func release(slot index: Int) {
        slots[index].handler = nil
        slots[index].generation &+= 1
        // Generation and index all ones is the wake-up's token.
        freeSlots.append(index)
    }

    /// Calls `body` once on the loop when at least `delay` has passed (whole milliseconds, rounded up).
    @discardableResult
    public func schedule(after delay: Duration, _ body: @escaping () -> Void) -> LoopTimer {
        assert(isOnLoop || owner.load(ordering: .relaxed) == 0)
        return timers.add(at: now + delay, body)
    }

    /// Calls `body` when the events of this pass have been served, before the loop waits again: the place for one
    /// flush of many small writes.
    public func atEndOfPass(_ body: @escaping () -> Void) {
        assert(isOnLoop || owner.load(ordering: .relaxed) == 0)
        endOfPass.append(body)
    }
    /// Calls `body` at the end of each pass, for as long as the loop lives: before the loop waits, after what `atEndOfPass` asked for too.
    public func atEndOfEveryPass(_ body: @escaping () -> Void) {
        assert(isOnLoop || owner.load(ordering: .relaxed) == 0)
        everyPass.append(body)
    }
}

/* The load of the benchmarks, in C so that it is never what is being measured.
 *
 *   load serve PORT RATE            echo, bulk, ticker and WebSocket server; prints its port
 *   load bulk PORT SECONDS CONNS    bytes a second towards the client
 *   load pingpong PORT SECONDS      200 bytes there and back on one connection, one at a time
 *   load fan PORT SECONDS CONNS     a stream of stamped 200-byte messages, RATE a second in all
 *   load connect PORT COUNT WINDOW  connect, send a byte, get a byte, close
 *   load storm PORT COUNT           all of them at once
 *   load idle PORT COUNT            open them, say so, hold them until standard input ends
 *   load ws PORT SECONDS WINDOW RATE  WebSocket messages there and back; RATE 0 is flat out
 *
 * Every mode prints one JSON object. What the server does is chosen by the client's first byte.
 */
#include "load.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/timerfd.h>

enum { MESSAGE = 200, BIG = 1 << 18, SAMPLES = 1 << 22 };

static char big[BIG];

static void send_all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) continue;
        if (n <= 0) return;
        at += n, size -= n;
    }
}

static void receive_all(int fd, void *data, size_t size) {
    char *at = data;
    while (size) {
        ssize_t n = recv(fd, at, size, 0);
        if (n <= 0) die("recv");
        at += n, size -= n;
    }
}

/* -- samples ------------------------------------------------------------------------------- */

static float *samples;
static int taken;

static void sample(int64_t ns) {
    if (!samples) samples = malloc(SAMPLES * sizeof *samples);
    if (taken < SAMPLES) samples[taken++] = ns / 1000.0f;
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double at_share(double share) {
    return taken ? samples[(int)(share * (taken - 1))] : 0;
}

static void report(const char *name, double value, double seconds) {
    if (taken) qsort(samples, taken, sizeof *samples, by_size);
    printf("{\"%s\": %.3f, \"p50\": %.2f, \"p99\": %.2f, \"cpu\": %.4f}\n", name, value,
           at_share(0.5), at_share(0.99), cpu_seconds() / seconds);
    fflush(stdout);
}

/* -- the server ------------------------------------------------------------------------------ */

enum { NEW, ECHO, BULK, FAN, UPGRADING, FRAMES };
static struct { char mode; int partial; uint64_t sent; } peers[MOST];
static int fans[MOST], fan_count;

static const char SWITCH[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char UPGRADE[] =
    "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/* A trade, padded with spaces to BODY bytes. */
static const char TRADE[] =
    "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"trades.BTC-PERPETUAL."
    "100ms\",\"data\":[{\"trade_seq\":30289442,\"price\":9578.5,\"amount\":4000.0,\"direction\":"
    "\"buy\",\"tick\":0}]}}";
enum { BODY = 200, FROM_CLIENT = BODY + 8, FROM_SERVER = BODY + 4 };
static char text[BODY + 1];

static void leave(int fd) {
    if (peers[fd].mode == FAN)
        for (int i = 0; i < fan_count; i++)
            if (fans[i] == fd) fans[i--] = fans[--fan_count];
    peers[fd].mode = NEW;
    close(fd);
}

static void answer_frames(int fd, ssize_t size) {
    static char frames[BIG];
    int have = peers[fd].partial + size, count = have / FROM_CLIENT;
    peers[fd].partial = have % FROM_CLIENT;
    if (count > (int)(sizeof frames / FROM_SERVER)) die("too many frames at once");
    for (int i = 0; i < count; i++) {
        char *frame = frames + i * FROM_SERVER;
        frame[0] = (char)0x81, frame[1] = 126, frame[2] = 0, frame[3] = (char)BODY;
        memcpy(frame + 4, text, BODY);
    }
    send_all(fd, frames, (size_t)count * FROM_SERVER);
}

static void serve_one(int fd, uint32_t events) {
    if (peers[fd].mode == BULK && events & EPOLLOUT) {
        for (int i = 0; i < 4; i++)
            if (send(fd, big, sizeof big, MSG_NOSIGNAL) < (ssize_t)sizeof big) break;
        if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR))) return;
    }
    ssize_t n = recv(fd, big, sizeof big / 2, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) leave(fd);
        return;
    }
    if (peers[fd].mode == NEW) {
        peers[fd].sent = 0, peers[fd].partial = 0;
        switch (big[0]) {
        case 'B': peers[fd].mode = BULK; rewatch(fd, EPOLLIN | EPOLLOUT); return;
        case 'F': peers[fd].mode = FAN; fans[fan_count++] = fd; return;
        case 'G': peers[fd].mode = UPGRADING; break;
        default: peers[fd].mode = ECHO;
        }
    }
    if (peers[fd].mode == UPGRADING) {
        /* The head comes whole or in pieces; the client waits for the answer. */
        if (n < 4 || memcmp(big + n - 4, "\r\n\r\n", 4)) return;
        peers[fd].mode = FRAMES;
        send_all(fd, SWITCH, sizeof SWITCH - 1);
    } else if (peers[fd].mode == FRAMES) {
        answer_frames(fd, n);
    } else if (peers[fd].mode == ECHO) {
        send_all(fd, big, n);
    }
}

static void tick(int timer, int rate) {
    static int64_t begun, due;
    static int next;
    uint64_t rings;
    if (read(timer, &rings, sizeof rings) < 0) return;
    if (!fan_count) { begun = due = 0; return; }
    if (!begun) begun = now_ns();
    int64_t should = (now_ns() - begun) * rate / 1000000000LL;
    for (; due < should; due++) {
        char message[MESSAGE] = {0};
        int fd = fans[next++ % fan_count];
        int64_t stamp = now_ns();
        memcpy(message, &stamp, sizeof stamp);
        memcpy(message + 8, &peers[fd].sent, sizeof peers[fd].sent);
        peers[fd].sent++;
        send(fd, message, sizeof message, MSG_NOSIGNAL);
    }
}

static void serve(int port, int rate) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    socklen_t size = sizeof at;
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 4096)) die("listen");
    getsockname(listener, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct itimerspec every = {{0, 1000000}, {0, 1000000}};
    timerfd_settime(timer, 0, &every, NULL);
    watch(listener, EPOLLIN);
    watch(timer, EPOLLIN);
    for (;;) {
        struct epoll_event events[512];
        int n = epoll_wait(poller, events, 512, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == timer) tick(timer, rate);
            else if (fd != listener) serve_one(fd, events[i].events);
            else
                for (int new; (new = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    if (new >= MOST) die("too many connections");
                    no_delay(new);
                    peers[new].mode = NEW;
                    watch(new, EPOLLIN);
                }
        }
    }
}

/* -- clients --------------------------------------------------------------------------------- */

static void ask_for(const char *stream, int port, int conns) {
    for (int i = 0; i < conns; i++) {
        int fd = dial(port, 1);
        send_all(fd, stream, 1);
        fcntl(fd, F_SETFL, O_NONBLOCK);
        watch(fd, EPOLLIN);
    }
}

static void bulk(int port, double seconds, int conns) {
    ask_for("B", port, conns);
    double total = 0;
    int64_t begun = now_ns(), end = begun + (int64_t)(seconds * 1e9), at;
    while ((at = now_ns()) < end) {
        struct epoll_event events[64];
        int n = epoll_wait(poller, events, 64, 10);
        for (int i = 0; i < n; i++) {
            /* MSG_TRUNC: the kernel throws the bytes away instead of copying them. */
            ssize_t got = recv(events[i].data.fd, big, 1 << 20, MSG_TRUNC);
            if (got > 0) total += got;
        }
    }
    report("mb_per_s", total / 1e6 / ((at - begun) / 1e9), (at - begun) / 1e9);
}

static void pingpong(int port, double seconds) {
    char message[MESSAGE] = "ping";
    int fd = dial(port, 1);
    int64_t begun = now_ns(), end = begun + (int64_t)(seconds * 1e9), sent;
    while ((sent = now_ns()) < end) {
        send_all(fd, message, sizeof message);
        receive_all(fd, message, sizeof message);
        sample(now_ns() - sent);
    }
    report("per_s", taken / seconds, seconds);
}

static void fan(int port, double seconds, int conns) {
    static struct { char data[MESSAGE]; int have; uint64_t next; } partial[MOST];
    ask_for("F", port, conns);
    double total = 0;
    int64_t begun = now_ns(), end = begun + (int64_t)(seconds * 1e9), at;
    while ((at = now_ns()) < end) {
        struct epoll_event events[256];
        int n = epoll_wait(poller, events, 256, 10);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            ssize_t got = recv(fd, big, sizeof big, 0);
            for (char *from = big; got > 0;) {
                int take = MESSAGE - partial[fd].have;
                if (take > got) take = got;
                memcpy(partial[fd].data + partial[fd].have, from, take);
                partial[fd].have += take, from += take, got -= take;
                if (partial[fd].have < MESSAGE) continue;
                partial[fd].have = 0;
                int64_t stamp;
                uint64_t number;
                memcpy(&stamp, partial[fd].data, sizeof stamp);
                memcpy(&number, partial[fd].data + 8, sizeof number);
                if (number != partial[fd].next++) { fputs("lost or reordered\n", stderr); exit(1); }
                sample(now_ns() - stamp);
                total++;
            }
        }
    }
    report("messages", total, (at - begun) / 1e9);
}

static void connects(int port, int count, int window) {
    static int64_t started[MOST];
    static char asked[MOST];
    int open = 0, begun = 0, done = 0, failed = 0;
    int64_t start = now_ns(), limit = start + 60000000000LL;
    while (done + failed < count && now_ns() < limit) {
        while (open < window && begun < count) {
            int64_t at = now_ns();
            int fd = dial(port, 0);
            started[fd] = at, asked[fd] = 0, open++, begun++;
            watch(fd, EPOLLOUT);
        }
        struct epoll_event events[512];
        int n = epoll_wait(poller, events, 512, 1000);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            char byte;
            if (!asked[fd] && events[i].events & EPOLLOUT && send(fd, "E", 1, MSG_NOSIGNAL) == 1) {
                asked[fd] = 1;
                rewatch(fd, EPOLLIN);
                continue;
            }
            if (recv(fd, &byte, 1, 0) == 1) sample(now_ns() - started[fd]), done++;
            else if (errno == EAGAIN) continue;
            else failed++;
            open--;
            close(fd);
        }
    }
    double seconds = (now_ns() - start) / 1e9;
    if (done < count) { fprintf(stderr, "%d of %d were served\n", done, count); exit(1); }
    report(window >= count ? "seconds" : "per_s", window >= count ? seconds : done / seconds,
           seconds);
}

static void idle(int port, int count) {
    char byte;
    for (int i = 0; i < count; i++) {
        int fd = dial(port, 1);
        send_all(fd, "E", 1);
        receive_all(fd, &byte, 1);
    }
    report("open", count, 1);
    while (read(0, &byte, 1) > 0) {}
}

static void websocket(int port, double seconds, int window, int rate) {
    static char frames[1024 * FROM_CLIENT];
    if (window > 1024) die("window");
    for (int i = 0; i < window; i++) {
        char *frame = frames + i * FROM_CLIENT;
        frame[0] = (char)0x81, frame[1] = (char)(0x80 | 126), frame[2] = 0, frame[3] = (char)BODY;
        memcpy(frame + 8, text, BODY); /* the mask is zero */
    }
    int fd = dial(port, 1);
    send_all(fd, UPGRADE, sizeof UPGRADE - 1);
    char *end_of_head = NULL;
    for (int have = 0; !end_of_head;) {
        ssize_t n = recv(fd, big + have, 4096 - have, 0);
        if (n <= 0) die("upgrade");
        have += n;
        big[have] = 0;
        end_of_head = strstr(big, "\r\n\r\n");
    }
    int64_t begun = now_ns(), end = begun + (int64_t)(seconds * 1e9), sent, count = 0;
    while ((sent = now_ns()) < end) {
        send_all(fd, frames, (size_t)window * FROM_CLIENT);
        for (size_t left = (size_t)window * FROM_SERVER; left;) {
            ssize_t n = recv(fd, big, left < BIG ? left : BIG, 0);
            if (n <= 0) die("recv");
            left -= n;
        }
        count += window;
        sample(now_ns() - sent);
        if (rate) {
            int64_t next = begun + count * 1000000000LL / rate;
            struct timespec until = {next / 1000000000LL, next % 1000000000LL};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        }
    }
    report("per_s", count / seconds, seconds);
}

int main(int argc, char **argv) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    snprintf(text, sizeof text, "%-*s", BODY, TRADE);
    if (argc < 4) { fputs("see the head of load.c\n", stderr); return 2; }
    const char *mode = argv[1];
    int port = atoi(argv[2]);
    double third = atof(argv[3]);
    int fourth = argc > 4 ? atoi(argv[4]) : 1, fifth = argc > 5 ? atoi(argv[5]) : 0;
    if (!strcmp(mode, "serve")) serve(port, (int)third);
    else if (!strcmp(mode, "bulk")) bulk(port, third, fourth);
    else if (!strcmp(mode, "pingpong")) pingpong(port, third);
    else if (!strcmp(mode, "fan")) fan(port, third, fourth);
    else if (!strcmp(mode, "connect")) connects(port, (int)third, fourth);
    else if (!strcmp(mode, "storm")) connects(port, (int)third, (int)third);
    else if (!strcmp(mode, "idle")) idle(port, (int)third);
    else if (!strcmp(mode, "ws")) websocket(port, third, fourth, fifth);
    else return 2;
    return 0;
}

/* Clients of an exchange, in C so that they are never what is being measured.
 *
 *   exchange_load restore PORT COUNT WINDOW SECONDS PATH REQUEST...
 *   exchange_load hold    PORT COUNT WINDOW SECONDS PATH REQUEST...
 *
 * A restore is: dial, upgrade at PATH, send each REQUEST and wait for the frame that answers it.
 * At most WINDOW are under way at once. `restore` does COUNT of them, each cut with an RST when it
 * is whole; `hold` keeps COUNT connections, counts the frames that come within SECONDS, says so,
 * and goes on reading until standard input ends. Both print one JSON object.
 *
 * Frames of the client are masked with the key 0, which RFC 6455 leaves to the client.
 */
#include "load.h"

enum { REQUESTS = 8, PIECE = 1 << 18 };

struct client {
    int64_t began;
    int64_t left; /* bytes of the present frame that are still to come */
    int step;     /* 0: dialling, 1: upgrading, 2...: waiting for the answer to request step - 2 */
    int had;      /* bytes of a head, of HTTP or of a frame, that have come */
    int whole;
    int refused; /* the first bytes of the present answer say so */
    uint64_t frames;
    unsigned char head[14];
};

static struct client *clients[MOST];
static int port, requests;
static char upgrade[1024], *frames[REQUESTS];
static size_t sizes[REQUESTS];
static int holding, under_way, whole, failed;
static uint64_t messages, bytes;
static double *took;

static void prepare(int number, const char *text) {
    size_t size = strlen(text), at = 0;
    char *frame = malloc(size + 14);
    frame[at++] = (char)0x81;
    if (size < 126) {
        frame[at++] = (char)(0x80 | size);
    } else if (size < 65536) {
        frame[at++] = (char)(0x80 | 126);
        frame[at++] = (char)(size >> 8);
        frame[at++] = (char)size;
    } else {
        fprintf(stderr, "a request is too long\n");
        exit(1);
    }
    memset(frame + at, 0, 4);
    memcpy(frame + at + 4, text, size);
    frames[number] = frame;
    sizes[number] = at + 4 + size;
}

static void begin(void) {
    int64_t began = now_ns();
    int fd = dial(port, 0);
    clients[fd] = calloc(1, sizeof **clients);
    clients[fd]->began = began;
    watch(fd, EPOLLOUT);
    under_way++;
}

static void cut(int fd) {
    struct linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
    free(clients[fd]);
    clients[fd] = NULL;
}

static void lose(int fd) {
    if (!clients[fd]->whole) under_way--;
    failed++;
    cut(fd);
}

static void put(int fd, const char *data, size_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) clients[fd]->step = -1;
}

/* The answer to one step is here: the next step, or the end of the restore. */
static void advance(int fd) {
    struct client *client = clients[fd];
    int next = client->step++ - 1;
    if (next < requests) {
        put(fd, frames[next], sizes[next]);
        return;
    }
    client->whole = 1;
    under_way--;
    took[whole++] = (now_ns() - client->began) / 1e6;
    if (!holding) cut(fd);
}

static size_t head_of(struct client *client) {
    if (client->had < 2) return 2;
    int size = client->head[1] & 127;
    return size == 126 ? 4 : size == 127 ? 10 : 2;
}

static void read_frames(int fd, const char *data, size_t size) {
    struct client *client = clients[fd];
    while (size) {
        if (client->left == 0) {
            client->head[client->had++] = (unsigned char)*data++;
            size--;
            if ((size_t)client->had < head_of(client)) continue;
            int length = client->head[1] & 127, extra = client->had - 2;
            client->left = extra ? 0 : length;
            for (int i = 0; i < extra; i++) client->left = client->left << 8 | client->head[2 + i];
            client->had = 0;
            if ((client->head[0] & 15) == 8) {
                client->step = -1;
                return;
            }
            if (!client->whole) {
                size_t here = size < (size_t)client->left ? size : (size_t)client->left;
                client->refused = memmem(data, here, "\"error\"", 7) != NULL;
            }
            if (client->left) continue;
        }
        size_t piece = size < (size_t)client->left ? size : (size_t)client->left;
        client->left -= (int64_t)piece;
        data += piece;
        size -= piece;
        if (client->left) return;
        messages++;
        client->frames++;
        if (!client->whole) {
            if (client->refused) client->step = -1;
            else advance(fd);
            if (!clients[fd] || client->step < 0) return;
        }
    }
}

static void readable(int fd) {
    static char piece[PIECE];
    ssize_t got = recv(fd, piece, PIECE, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        lose(fd);
        return;
    }
    bytes += (uint64_t)got;
    if (clients[fd]->step == 1) {
        /* A 101 is short and has come from one write; what follows it are frames. */
        char *end = memmem(piece, (size_t)got, "\r\n\r\n", 4);
        if (!end || strncmp(piece, "HTTP/1.1 101", 12) != 0) {
            lose(fd);
            return;
        }
        advance(fd);
        if (clients[fd] && end + 4 < piece + got)
            read_frames(fd, end + 4, (size_t)(piece + got - end - 4));
    } else {
        read_frames(fd, piece, (size_t)got);
    }
    if (clients[fd] && clients[fd]->step < 0) lose(fd);
}

static void turn(int timeout_ms) {
    struct epoll_event events[512];
    int count = epoll_wait(poller, events, 512, timeout_ms);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (!clients[fd]) continue;
        if (clients[fd]->step == 0) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) {
                lose(fd);
                continue;
            }
            rewatch(fd, EPOLLIN);
            clients[fd]->step = 1;
            put(fd, upgrade, strlen(upgrade));
        } else {
            readable(fd);
        }
    }
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 7 || argc - 7 > REQUESTS) {
        fprintf(stderr, "usage: see the head of exchange_load.c\n");
        return 3;
    }
    holding = strcmp(argv[1], "hold") == 0;
    port = atoi(argv[2]);
    int count = atoi(argv[3]), window = atoi(argv[4]);
    double seconds = atof(argv[5]);
    snprintf(upgrade, sizeof upgrade,
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
             "Sec-WebSocket-Version: 13\r\n\r\n",
             argv[6], port);
    for (requests = 0; requests < argc - 7; requests++) prepare(requests, argv[7 + requests]);
    took = calloc((size_t)count, sizeof *took);
    poller = epoll_create1(0);
    if (poller < 0) die("epoll_create1");

    int64_t began = now_ns(), deadline = began + 120000000000LL;
    int dialled = 0;
    while (whole + failed < count && now_ns() < deadline) {
        while (dialled < count && under_way < window) {
            begin();
            dialled++;
        }
        turn(100);
    }
    double lasted = (now_ns() - began) / 1e9, cpu = cpu_seconds();
    qsort(took, (size_t)whole, sizeof *took, by_size);
    double p50 = whole ? took[whole / 2] : 0, p99 = whole ? took[whole * 99 / 100] : 0;
    printf("{\"restored\": %d, \"failed\": %d, \"seconds\": %.3f, \"per_s\": %.1f, \"p50_ms\": %.2f,"
           " \"p99_ms\": %.2f, \"cpu_us\": %.1f",
           whole, count - whole, lasted, whole / lasted, p50, p99, whole ? cpu / whole * 1e6 : 0);
    if (holding) {
        int64_t settled = now_ns() + 1000000000LL;
        while (now_ns() < settled) turn(10);
        uint64_t had = messages, had_bytes = bytes;
        double had_cpu = cpu_seconds();
        int64_t from = now_ns();
        int lost = failed;
        while ((now_ns() - from) / 1e9 < seconds) turn(10);
        lasted = (now_ns() - from) / 1e9;
        printf(", \"messages_per_s\": %.0f, \"mb_per_s\": %.1f, \"load_cores\": %.3f, \"lost\": %d",
               (messages - had) / lasted, (bytes - had_bytes) / lasted / 1e6,
               (cpu_seconds() - had_cpu) / lasted, failed - lost);
    }
    printf("}\n");
    fflush(stdout);
    if (holding) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = 0};
        /* A file cannot be polled: then there is nothing to wait for. */
        if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event)) return 0;
        char said[64];
        for (;;) {
            struct epoll_event events[64];
            int ready = epoll_wait(poller, events, 64, -1);
            for (int i = 0; i < ready; i++) {
                int fd = events[i].data.fd;
                if (fd == 0 && read(0, said, sizeof said) <= 0) return 0;
                if (fd != 0 && clients[fd]) readable(fd);
            }
        }
    }
    return 0;
}

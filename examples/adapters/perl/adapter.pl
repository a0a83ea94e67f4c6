# Perl's core modules alone, after docs/adapter-protocol.md: RFC 6455 by hand, bounds on dials and
# on silence, pings, random backoff, an ear for Retry-After. Public channels only.
use v5.36;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;

($|, $SIG{PIPE}) = (1, 'IGNORE');
my ($host, $port, $path) = $ENV{SQUALL_URL} =~ m{^ws://(.+):(\d+)(/.*)} or die 'not a ws:// URL';
my ($failures, $banned, $wanted) = (0, 0, qq({"channels":$ENV{SQUALL_CHANNELS}}));
sub emit ($event, %fields) { say encode_json {event => $event, %fields} }

sub frame ($opcode, $payload) {    # nothing that is sent here is longer than 64 KiB
    my ($size, $mask) = (length $payload, pack 'N', rand 2**32);
    my $head = pack $size < 126 ? 'CC' : 'CCn', 128 | $opcode, $size < 126 ? 128 | $size : 254, $size;
    return $head . $mask . ($payload ^. substr $mask x $size, 0, $size);
}

sub unframe ($in) {    # takes the first frame off what has come in, where all of it is there
    my ($opcode, $size) = unpack 'CC', my $start = $$in . "\0" x 10;
    my $head = $size < 126 ? 2 : $size == 126 ? 4 : 10;
    $size = unpack $head == 4 ? 'x2n' : 'x2Q>', $start if $head > 2;
    return if length $$in < $head + $size;
    return ($opcode & 15, substr substr($$in, 0, $head + $size, ''), $head);
}

sub session ($socket) {    # one connection, and why it is over
    syswrite $socket, "GET $path HTTP/1.1\r\nHost: $host:$port\r\nUpgrade: websocket\r\n"
        . "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        . encode_base64(pack('N4', map { rand 2**32 } 1 .. 4), '') . "\r\n\r\n";
    my ($in, $up, $silent) = ('', 0, 0);
    while ($silent < 4) {
        my @ready = IO::Select->new($socket, \*STDIN)->can_read(5);
        exit if grep { $_ == \*STDIN } @ready;    # it was promised no commands: this is the end
        $silent = @ready ? 0 : $silent + ($up ? 1 : 4);
        syswrite $socket, frame 9, '' if $up && $silent;
        return 'the connection ended' if @ready && !sysread $socket, $in, 65536, length $in;
        if (!$up && $in =~ s/^HTTP\S+ (\d+)(.*?)\r\n\r\n//s) {
            ($up, $banned) = ($1 == 101, $2 =~ /^retry-after: (\d+)/im ? $1 : 0);
            return 'the upgrade was refused' if !$up;
            syswrite $socket, frame 1, qq({"id":1,"method":"public/subscribe","params":$wanted});
        }
        while ($up and my ($opcode, $payload) = unframe \$in) {
            return 'the venue said goodbye' if $opcode == 8;
            syswrite $socket, frame 10, $payload if $opcode == 9;
            my $params = $opcode == 1 && decode_json($payload)->{params} or next;
            my $seq = eval { $params->{data}[-1]{trade_seq} } // $params->{data}{change_id};
            emit 'message', channel => $params->{channel}, seq => $seq;
        }
    }
    return 'silence';
}

emit 'ready', commands => [], version => '1.0';
until (IO::Select->new(\*STDIN)->can_read($banned + rand 2**$failures)) {
    my ($began, $socket) = (time, IO::Socket::INET->new(PeerAddr => "$host:$port", Timeout => 5));
    emit 'state', state => 'disconnected', reason => $socket ? session $socket : "$@";
    $failures = time > $began + 10 ? 0 : $failures + ($failures < 5);
}

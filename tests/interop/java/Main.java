import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.capnproto.MessageReader;
import org.capnproto.ReaderOptions;
import org.capnproto.Serialize;
import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;
import spanwire.Envelope;

/**
 * Prints changes in canonical form (docs/canonical.md): {@code Main TOPIC COUNT ENDPOINT...} ends after COUNT
 * changes. A line "joined" on stderr says that ticks came from every endpoint: nothing that is sent from
 * then on is missed.
 */
final class Main {
  private static final int FORMAT_MAJOR = 1;
  private static final long FEATURES = 0; // the bits of requiredFeatures that this reader knows

  /** A message that takes a newer reader. */
  private static final class Refused extends Exception {
    Refused(String why) {
      super("refused: " + why + ": get a newer one");
    }
  }

  public static void main(String[] arguments) throws Exception {
    try {
      run(arguments[0], Long.parseLong(arguments[1]), Arrays.asList(arguments).subList(2, arguments.length));
    } catch (Refused refused) {
      System.err.println("consume: " + refused.getMessage());
      System.exit(1);
    }
  }

  private static void run(String topic, long left, List<String> endpoints) throws Exception {
    PrintStream out = new PrintStream(new BufferedOutputStream(System.out), false, StandardCharsets.UTF_8);
    Set<ByteBuffer> senders = new HashSet<>();
    try (ZContext context = new ZContext()) {
      ZMQ.Socket socket = context.createSocket(SocketType.SUB);
      socket.setRcvHWM(0);
      endpoints.forEach(socket::connect);
      socket.subscribe(topic.getBytes(StandardCharsets.UTF_8));
      while (left > 0) {
        List<ByteBuffer> frames = new ArrayList<>();
        do {
          frames.add(ByteBuffer.wrap(socket.recv()));
        } while (socket.hasReceiveMore());
        Envelope.Header.Reader header = read(frames.get(1)).getRoot(Envelope.Header.factory);
        accept(header);
        if (header.getKind() == Envelope.Header.Kind.TICK) {
          boolean fresh = senders.add(ByteBuffer.wrap(header.getPartition().toArray()));
          if (fresh && senders.size() == endpoints.size()) {
            System.err.println("joined");
          }
        }
        if (header.getKind() != Envelope.Header.Kind.CHANGES) {
          continue;
        }
        Canonical canonical = new Canonical(read(frames.get(2)).getRoot(Envelope.Columns.factory));
        ByteBuffer body = frames.get(3);
        while (body.hasRemaining() && left > 0) {
          Envelope.DataChangeRecord.Reader record = read(body).getRoot(Envelope.DataChangeRecord.factory);
          for (Envelope.Mod.Reader mod : record.getMods()) {
            if (left > 0) {
              out.print(canonical.line(record, mod));
              out.print('\n');
              left--;
            }
          }
        }
      }
    }
    out.flush();
  }

  /** The message at the buffer's position, which is behind it afterwards. */
  private static MessageReader read(ByteBuffer frame) throws Exception {
    return Serialize.read(frame, new ReaderOptions(8L * frame.remaining(), 64));
  }

  private static void accept(Envelope.Header.Reader header) throws Refused {
    int major = header.getFormatMajor();
    long unknown = header.getRequiredFeatures() & ~FEATURES;
    if (Integer.compareUnsigned(major, FORMAT_MAJOR) > 0) {
      throw new Refused("formatMajor " + major + ", and this reader knows " + FORMAT_MAJOR);
    }
    if (unknown != 0) {
      throw new Refused("requiredFeatures 0x" + Long.toHexString(unknown) + ", which this reader does not know");
    }
    if (header.getBodyEncoding() != Envelope.Header.BodyEncoding.NONE) {
      throw new Refused("a bodyEncoding that this reader does not know");
    }
  }
}

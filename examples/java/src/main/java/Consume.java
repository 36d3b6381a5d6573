import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import org.capnproto.MessageReader;
import org.capnproto.ReaderOptions;
import org.capnproto.Serialize;
import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;
import spanwire.Envelope;

/**
 * Prints the version, table and keys of each change:
 *
 * <pre>mvn -q compile && java -cp 'target/classes:target/lib/*' Consume tcp://127.0.0.1:5560 shop/all_tables/</pre>
 */
public class Consume {
  public static void main(String[] arguments) throws Exception {
    try (ZContext context = new ZContext()) {
      ZMQ.Socket socket = context.createSocket(SocketType.SUB);
      socket.connect(arguments[0]);
      socket.subscribe(arguments[1].getBytes("UTF-8"));
      while (true) {
        List<ByteBuffer> frames = new ArrayList<>(); // topic, header, columns, body
        do {
          frames.add(ByteBuffer.wrap(socket.recv()));
        } while (socket.hasReceiveMore());
        Envelope.Header.Reader header = read(frames.get(1)).getRoot(Envelope.Header.factory);
        if (header.getFormatMajor() > 1
            || header.getRequiredFeatures() != 0
            || header.getBodyEncoding() != Envelope.Header.BodyEncoding.NONE) {
          throw new IllegalStateException("this message needs a newer reader");
        }
        if (header.getKind() != Envelope.Header.Kind.CHANGES) {
          continue; // a tick, a notice
        }
        Envelope.Columns.Reader columns = read(frames.get(2)).getRoot(Envelope.Columns.factory);
        ByteBuffer body = frames.get(3);
        while (body.hasRemaining()) {
          print(columns, read(body).getRoot(Envelope.DataChangeRecord.factory));
        }
      }
    }
  }

  /** The message at the buffer's position, which is behind it afterwards. */
  private static MessageReader read(ByteBuffer frame) throws Exception {
    return Serialize.read(frame, new ReaderOptions(8L * frame.remaining(), 64));
  }

  private static void print(Envelope.Columns.Reader columns, Envelope.DataChangeRecord.Reader record) {
    var committed = record.getCommitTimestamp();
    Instant at = Instant.ofEpochSecond(committed.getSeconds(), committed.getNanos());
    for (Envelope.Mod.Reader mod : record.getMods()) {
      System.out.printf("%s/%s/%s/%d %s", at, record.getServerTransactionId(), record.getRecordSequence(),
          mod.getNumber(), columns.getTable());
      if (mod.isJson()) {
        System.out.print(" " + mod.getJson().getKeys());
      } else {
        var keys = mod.getTyped().getKeys().iterator();
        for (Envelope.Column.Reader column : columns.getColumns()) {
          // A list may be shorter than its columns: what is not there is missing.
          if (column.getIsPrimaryKey() && keys.hasNext()) {
            System.out.print(" " + column.getName() + "=" + show(keys.next()));
          }
        }
      }
      System.out.println();
    }
  }

  private static Object show(Envelope.Value.Reader cell) {
    return switch (cell.which()) {
      case NULL -> "NULL";
      case INT64 -> cell.getInt64();
      case TEXT -> cell.getText();
      default -> "...";
    };
  }
}

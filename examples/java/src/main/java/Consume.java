import java.nio.ByteBuffer;
import org.capnproto.MessageReader;
import org.capnproto.ReaderOptions;
import org.capnproto.Serialize;
import org.zeromq.SocketType;
import org.zeromq.ZContext;
import org.zeromq.ZMQ;
import org.zeromq.ZMsg;
import spanwire.Envelope.*;

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
        // topic, header, columns, body
        var frames = ZMsg.recvMsg(socket).stream().map(frame -> ByteBuffer.wrap(frame.getData())).toList();
        Header.Reader header = read(frames.get(1)).getRoot(Header.factory);
        if (header.getFormatMajor() > 1
            || header.getRequiredFeatures() != 0
            || header.getBodyEncoding() != Header.BodyEncoding.NONE) {
          throw new IllegalStateException("this message needs a newer reader");
        }
        if (header.getKind() != Header.Kind.CHANGES) {
          continue; // a tick, a notice
        }
        Columns.Reader columns = read(frames.get(2)).getRoot(Columns.factory);
        while (frames.get(3).hasRemaining()) {
          show(columns, read(frames.get(3)).getRoot(DataChangeRecord.factory));
        }
      }
    }
  }

  /** The message at the buffer's position, which is behind it afterwards. */
  private static MessageReader read(ByteBuffer frame) throws Exception {
    return Serialize.read(frame, new ReaderOptions(8L * frame.remaining(), 64));
  }

  private static void show(Columns.Reader columns, DataChangeRecord.Reader record) {
    var committed = record.getCommitTimestamp();
    for (Mod.Reader mod : record.getMods()) {
      System.out.printf("%d.%09d/%s/%s/%d %s", committed.getSeconds(), committed.getNanos(),
          record.getServerTransactionId(), record.getRecordSequence(), mod.getNumber(), columns.getTable());
      if (mod.isJson()) {
        System.out.print(" " + mod.getJson().getKeys());
      } else {
        var keys = mod.getTyped().getKeys().iterator();
        for (Column.Reader column : columns.getColumns()) {
          // A list may be shorter than its columns: what is not there is missing.
          if (column.getIsPrimaryKey() && keys.hasNext()) {
            Value.Reader key = keys.next();
            Object value = key.isInt64() ? key.getInt64() : key.isText() ? key.getText() : key.which();
            System.out.print(" " + column.getName() + "=" + value);
          }
        }
      }
      System.out.println();
    }
  }
}

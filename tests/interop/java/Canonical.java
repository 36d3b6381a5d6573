import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.IntFunction;
import org.capnproto.Data;
import org.capnproto.StructList;
import spanwire.Envelope;

/** The canonical form of the changes of a message, from the message alone. */
final class Canonical {
  private static final String UNKNOWN = "\"unknown\"";
  private static final DateTimeFormatter SECOND =
      DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss").withZone(ZoneOffset.UTC);
  /** Java sorts by UTF-16, the form by UTF-8. */
  private static final Comparator<String> BY_UTF_8 =
      (one, other) ->
          Arrays.compareUnsigned(one.getBytes(StandardCharsets.UTF_8), other.getBytes(StandardCharsets.UTF_8));

  /** Columns of the primary key, or the others. */
  static final class Role {
    final List<String> names = new ArrayList<>();
    final Map<String, JsonText.Form> forms = new TreeMap<>();
  }

  private final String table;
  private final Role keys = new Role();
  private final Role rest = new Role();

  Canonical(Envelope.Columns.Reader columns) {
    table = columns.getTable().toString();
    for (Envelope.Column.Reader column : columns.getColumns()) {
      Role role = column.getIsPrimaryKey() ? keys : rest;
      role.names.add(column.getName().toString());
      role.forms.put(column.getName().toString(), new JsonText.Form(column.getType()));
    }
  }

  /** An object of JSON values by name, in the form's order. */
  static Map<String, String> object() {
    return new TreeMap<>(BY_UTF_8);
  }

  /** One change, without the end of its line. */
  String line(Envelope.DataChangeRecord.Reader record, Envelope.Mod.Reader mod) {
    String[] written = {UNKNOWN, UNKNOWN, UNKNOWN};
    if (mod.which() == Envelope.Mod.Which.TYPED) {
      Envelope.Mod.Typed.Reader typed = mod.getTyped();
      List<Map<String, String>> objects =
          List.of(cells(typed.getKeys(), keys), cells(typed.getNewValues(), rest), cells(typed.getOldValues(), rest));
      for (Envelope.Other.Reader other : typed.getOthers()) {
        int place = other.getPlace().ordinal();
        if (place < objects.size()) {
          objects.get(place).putIfAbsent(other.getName().toString(), quote(other.getJson().toString()));
        }
      }
      Arrays.setAll(written, place -> braced(objects.get(place)));
    } else if (mod.which() == Envelope.Mod.Which.JSON) {
      Envelope.Mod.Json.Reader json = mod.getJson();
      written[0] = braced(JsonText.typed(json.getKeys().toString(), keys));
      written[1] = braced(JsonText.typed(json.getNewValues().toString(), rest));
      written[2] = braced(JsonText.typed(json.getOldValues().toString(), rest));
    }
    Envelope.DataChangeRecord.CommitTimestamp.Reader committed = record.getCommitTimestamp();
    String version =
        timestamp(committed.getSeconds(), committed.getNanos())
            + "/" + record.getServerTransactionId()
            + "/" + record.getRecordSequence()
            + "/" + Integer.toUnsignedString(mod.getNumber());
    return "{\"keys\":" + written[0] + ",\"mod_type\":\"" + modType(record.getModType()) + "\",\"new\":" + written[1]
        + ",\"old\":" + written[2] + ",\"table\":" + quote(table) + ",\"version\":" + quote(version) + "}";
  }

  private static String modType(Envelope.DataChangeRecord.ModType of) {
    return switch (of) {
      case INSERT -> "INSERT";
      case UPDATE -> "UPDATE";
      case DELETE -> "DELETE";
      default -> "UNKNOWN";
    };
  }

  /** A list may be shorter than its columns: what is not there is missing. */
  private static Map<String, String> cells(StructList.Reader<Envelope.Value.Reader> list, Role role) {
    Map<String, String> object = object();
    for (int place = 0; place < Math.min(list.size(), role.names.size()); place++) {
      if (!list.get(place).isMissing()) {
        object.put(role.names.get(place), value(list.get(place)));
      }
    }
    return object;
  }

  private static String value(Envelope.Value.Reader cell) {
    return switch (cell.which()) {
      case NULL -> "null";
      case BOOL -> String.valueOf(cell.getBool());
      case INT64 -> integer(cell.getInt64());
      case FLOAT64 -> real(cell.getFloat64());
      case TEXT -> quote(cell.getText().toString());
      case BYTES -> bytes(cell.getBytes());
      case TIMESTAMP -> quote(timestamp(cell.getTimestamp().getSeconds(), cell.getTimestamp().getNanos()));
      case ARRAY -> array(cell.getArray());
      case JSON -> quote(cell.getJson().toString());
      default -> UNKNOWN;
    };
  }

  private static String array(Envelope.Array.Reader array) {
    byte[] nulls = array.getNulls().toArray();
    switch (array.which()) {
      case BOOL:
        var bools = array.getBool();
        return elements(nulls, bools.size(), place -> String.valueOf(bools.get(place)));
      case INT64:
        var integers = array.getInt64();
        return elements(nulls, integers.size(), place -> integer(integers.get(place)));
      case FLOAT64:
        var reals = array.getFloat64();
        return elements(nulls, reals.size(), place -> real(reals.get(place)));
      case TEXT:
        var texts = array.getText();
        return elements(nulls, texts.size(), place -> quote(texts.get(place).toString()));
      case BYTES:
        var datas = array.getBytes();
        return elements(nulls, datas.size(), place -> bytes(datas.get(place)));
      case TIMESTAMP:
        var moments = array.getTimestamp();
        return elements(nulls, moments.size(),
            place -> quote(timestamp(moments.get(place).getSeconds(), moments.get(place).getNanos())));
      case JSON:
        var jsons = array.getJson();
        return elements(nulls, jsons.size(), place -> quote(jsons.get(place).toString()));
      default:
        return UNKNOWN;
    }
  }

  private static String elements(byte[] nulls, int length, IntFunction<String> at) {
    List<String> found = new ArrayList<>(length);
    for (int place = 0; place < length; place++) {
      boolean isNull = place / 8 < nulls.length && (nulls[place / 8] >> place % 8 & 1) == 1;
      found.add(isNull ? "null" : at.apply(place));
    }
    return bracketed(found);
  }

  static String integer(long number) {
    return "\"" + number + "\"";
  }

  /** doubleToLongBits knows one NaN, the form's. */
  static String real(double number) {
    return String.format("\"%016x\"", Double.doubleToLongBits(number));
  }

  private static String bytes(Data.Reader data) {
    return "\"" + Base64.getEncoder().encodeToString(data.toArray()) + "\"";
  }

  private static String timestamp(long seconds, int nanos) {
    return SECOND.format(Instant.ofEpochSecond(seconds)) + String.format(".%09dZ", nanos);
  }

  static String bracketed(List<String> elements) {
    return "[" + String.join(",", elements) + "]";
  }

  private static String braced(Map<String, String> object) {
    List<String> members = new ArrayList<>(object.size());
    object.forEach((name, value) -> members.add(quote(name) + ":" + value));
    return "{" + String.join(",", members) + "}";
  }

  /** A string with the escapes that JSON demands and no others. */
  static String quote(String text) {
    StringBuilder out = new StringBuilder(text.length() + 2).append('"');
    for (int at = 0; at < text.length(); at++) {
      char unit = text.charAt(at);
      switch (unit) {
        case '"', '\\' -> out.append('\\').append(unit);
        case '\b' -> out.append("\\b");
        case '\t' -> out.append("\\t");
        case '\n' -> out.append("\\n");
        case '\f' -> out.append("\\f");
        case '\r' -> out.append("\\r");
        default -> {
          if (unit < ' ') {
            out.append(String.format("\\u%04x", (int) unit));
          } else {
            out.append(unit);
          }
        }
      }
    }
    return out.append('"').toString();
  }
}

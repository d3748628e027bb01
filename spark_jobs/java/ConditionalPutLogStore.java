package marquee;

import io.delta.storage.CloseableIterator;
import io.delta.storage.HadoopFileSystemLogStore;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.s3a.RemoteFileChangedException;

/**
 * A log store for S3 that any number of writers may use at once, delta-rs among them: a commit is a PUT on the
 * condition that the object does not exist (If-None-Match). Delta's own log store for S3 looks first and writes then,
 * which is safe for a single driver only.
 */
public class ConditionalPutLogStore extends HadoopFileSystemLogStore {

  public ConditionalPutLogStore(Configuration hadoopConf) {
    super(hadoopConf);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration hadoopConf)
      throws IOException {
    // Whole in memory before a byte is sent: closing a stream after an error would publish half a commit.
    ByteArrayOutputStream lines = new ByteArrayOutputStream();
    while (actions.hasNext()) {
      lines.write((actions.next() + "\n").getBytes(StandardCharsets.UTF_8));
    }
    FileSystem fs = path.getFileSystem(hadoopConf);
    if (overwrite) {
      try (FSDataOutputStream out = fs.create(path, true)) {
        lines.writeTo(out);
      }
      return;
    }
    // S3A's create(path, false) is not conditional. This is, and replaces nothing although it says so.
    FSDataOutputStreamBuilder<?, ?> builder = fs.createFile(path).overwrite(true).recursive();
    builder.must("fs.option.create.conditional.overwrite", true);
    try (FSDataOutputStream out = builder.build()) {
      lines.writeTo(out);
    } catch (RemoteFileChangedException exists) {
      // If the answer to a request is lost, the client repeats the request and meets its own commit.
      if (!lines.toString(StandardCharsets.UTF_8).equals(content(path, hadoopConf))) {
        throw (IOException) new FileAlreadyExistsException(path.toString()).initCause(exists);
      }
    }
  }

  private String content(Path path, Configuration hadoopConf) throws IOException {
    StringBuilder found = new StringBuilder();
    try (CloseableIterator<String> lines = read(path, hadoopConf)) {
      lines.forEachRemaining(line -> found.append(line).append('\n'));
    }
    return found.toString();
  }

  @Override
  public Boolean isPartialWriteVisible(Path path, Configuration hadoopConf) {
    return false;
  }
}

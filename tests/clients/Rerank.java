import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Posts a file to a URL as JSON with the JDK's own client, three times over one connection, and prints each answer. */
public class Rerank {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.valueOf(arguments[0])).build();
        String body = Files.readString(Path.of(arguments[3]), StandardCharsets.UTF_8);
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[1]))
            .header("content-type", "application/json")
            .header("authorization", "Bearer " + arguments[2])
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        for (int turn = 0; turn < 3; turn++) {
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
    }
}

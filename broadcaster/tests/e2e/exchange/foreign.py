"""Another AMQP program: foreign.py URL EXCHANGE read N | garbage N"""
import json
import random
import struct
import sys

import pika

url, exchange, task, count = sys.argv[1:5]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()


def read():
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange)
    messages = channel.consume(queue, auto_ack=True)
    for _, (_, properties, body) in zip(range(int(count)), messages):
        frames, epoch, seq, time, length, _, _, _, _, flags = struct.unpack_from(">HQQQIIHHBB", body)
        assert frames == 1 and len(body) == 42 + length
        print(json.dumps({
            "content_type": properties.content_type,
            "headers": properties.headers,
            "body": {"epoch": epoch, "seq": seq, "captured_at_ns": time, "flags": flags},
            "starts_as_jpeg": body[42:44] == b"\xff\xd8",
        }))


def garbage():
    noise = random.Random(1)
    for number in range(int(count)):
        body = noise.randbytes(noise.choice([0, 1, 41, 1000, 100_000]))
        channel.basic_publish(exchange, "", body)
        connection.sleep(0.01)
    print(count)


{"read": read, "garbage": garbage}[task]()
connection.close()

"""The child's side of the bench in Python: answers questions until standard input ends, as ../serve.ts does."""
import json
import sys
import time


def serve(description, prepare):
    """prepare makes of a case an object that tells .ready and does its work with .run(count)."""
    prepared = {}

    def answer(question):
        if question["ask"] == "hello":
            return description
        if question["ask"] == "prepare":
            case = prepared[question["id"]] = prepare(question["case"])
            return case.ready
        if question["ask"] == "time":
            began = time.perf_counter()
            prepared[question["id"]].run(question["count"])
            return (time.perf_counter() - began) / question["count"]
        prepared.pop(question["id"], None)

    for line in sys.stdin:
        try:
            reply = {"value": answer(json.loads(line))}
        except Exception as error:
            reply = {"error": str(error)}
        print(json.dumps(reply), flush=True)

"""Makes `twistd kraft` known to Twisted. It imports nothing of kraft, so listing plugins stays cheap."""

from twisted.application.service import ServiceMaker

kraft = ServiceMaker("kraft", "kraft.tap", "Distributed key-value store on Raft", "kraft")

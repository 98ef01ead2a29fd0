// An OPC UA server with history on node-opcua, which shares no code with the client under test.
// node node_plant.js NODE_MODULES PORT FOLDER; prints "ready" when it listens.
const [, , modules, port, folder] = process.argv;
const opcua = require(require.resolve("node-opcua", { paths: [modules] }));

const T0 = Date.parse("2024-05-01T06:00:00Z");

async function main() {
  const certificates = new opcua.OPCUACertificateManager({
    rootFolder: folder,
    automaticallyAcceptUnknownCertificate: true,
  });
  const server = new opcua.OPCUAServer({
    port: Number(port),
    hostname: "127.0.0.1",
    serverCertificateManager: certificates,
    userCertificateManager: certificates,
    securityPolicies: [opcua.SecurityPolicy.None, opcua.SecurityPolicy.Basic256Sha256],
    securityModes: [opcua.MessageSecurityMode.None, opcua.MessageSecurityMode.SignAndEncrypt],
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.getOwnNamespace();
  const variable = own.addAnalogDataItem({
    organizedBy: space.rootFolder.objects,
    browseName: "TI1.PV",
    nodeId: "s=TI1.PV",
    dataType: "Double",
    description: "reactor",
    engineeringUnits: opcua.standardUnits.degree_celsius,
    engineeringUnitsRange: { low: 0, high: 150 },
  });
  space.installHistoricalDataNode(variable, { maxOnlineValues: 1000 });
  for (let second = 0; second < 40; second++) {
    const status = second % 9 === 7 ? opcua.StatusCodes.BadDeviceFailure : opcua.StatusCodes.Good;
    variable.setValueFromSource({ dataType: "Double", value: 20 + second }, status, new Date(T0 + second * 1000));
  }
  await server.start();
  console.log("ready");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
